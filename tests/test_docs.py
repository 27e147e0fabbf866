"""The code in the README and the docs runs. test_docstrings.py tests the code in docstrings."""

import ast
import inspect
import logging
import re
import textwrap
from pathlib import Path

import pytest
import yaml
from support.pytest_project import run_project

import cekat_async.sandbox
from cekat_async import CekatClient
from cekat_async.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")))
    if not block.startswith("--8<--")  # an included file, which has its own tests
]

pytest_plugins = ["pytester"]


def get_kind(block: str) -> str:
    """Return whether a block is a test, a whole program, or an example that needs a client."""
    if "\nimport pytest\n" in f"\n{block}":
        return "test"
    return "program" if "asyncio.run" in block else "example"


def each(kind: str) -> pytest.MarkDecorator:
    """Parametrize a test with all blocks of a kind."""
    return pytest.mark.parametrize("block", [b for b in BLOCKS if get_kind(b.values[0]) == kind])


@pytest.fixture(autouse=True)
def logging_as_before():
    """Restore the logging setup after each test, because examples change it."""
    loggers = [logging.getLogger(), logging.getLogger("cekat_async")]
    before = [(one, one.level, [*one.handlers]) for one in loggers]
    yield
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers[:] = handlers


@pytest.fixture
async def names(tmp_path, monkeypatch):
    """The names that an example can use, such as an open client. It runs in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    async with Sandbox(conversations=250, quota=None) as sandbox:
        monkeypatch.setenv("CEKAT_API_KEY", sandbox.api_key)
        monkeypatch.setenv("CEKAT_BASE_URL", sandbox.base_url)
        async with CekatClient() as cekat:
            yield {"cekat": cekat, "CekatClient": CekatClient}


async def run(source: str, names: dict) -> None:
    code = compile(source, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    coroutine = eval(code, names)  # noqa: S307 - our own documentation
    if coroutine is not None:
        await coroutine


@each("example")
async def test_examples_of_the_docs_run(block, names):
    """Each Python example in the documentation runs unchanged."""
    await run(block, names)


@each("program")
def test_programs_of_the_docs_run(block, capsys):
    """Each complete program in the documentation runs unchanged, without a key or a network."""
    exec(compile(block, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own

    assert capsys.readouterr().out


@each("test")
def test_tests_of_the_docs_pass(block, pytester):
    """Each test in the documentation passes in a project of its own, without a warning."""
    has_test = "def test_" in block
    uses_it = (
        "" if has_test else "\n\ndef test_it(cekat_sandbox):\n    assert cekat_sandbox.count()\n"
    )

    result = run_project(pytester, block + uses_it)

    result.assert_outcomes(passed=(block + uses_it).count("def test_"))


def test_the_sandbox_docstring_is_a_program(capsys):
    """The program in the docstring of the sandbox runs unchanged."""
    text = inspect.getdoc(cekat_async.sandbox) or ""
    program = textwrap.dedent(
        "\n".join(line for line in text.splitlines() if line.startswith("    ") or not line)
    )

    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own

    assert "503" in capsys.readouterr().out


def test_yaml_of_the_docs_is_yaml():
    """Each YAML block in the documentation is a valid mapping."""
    blocks = [block for page in PAGES for block in YAML.findall(page.read_text(encoding="utf-8"))]

    assert blocks
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks)


def test_links_of_the_docs_lead_somewhere():
    """Each relative link in the documentation leads to a file of the project."""
    link = re.compile(r"\]\((?!https?:)([^)#]+)")
    more = ("CONTRIBUTING.md", "benchmarks/README.md", "examples/README.md")
    pages = [*PAGES, *(ROOT / name for name in more)]
    broken = [
        (page.name, target)
        for page in pages
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []
