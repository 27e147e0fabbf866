"""The container image: its content, and the command line in its container."""

import os
import re
import signal
import sys
import tomllib

import pytest
from support.container import DOCKERFILE, ROOT, Container, find_first_process, read_instructions

from cekat_async.cli import ExitCode
from cekat_async.sandbox import Sandbox

SLOW = ("--sandbox", "--rate-limit", "20/60")
NO_TEMPORARY_FOLDER = {"TMPDIR": "/tmp"}  # noqa: S108 - it is read-only, or missing


@pytest.fixture
def container(tmp_path):
    if sys.platform != "linux":
        pytest.skip("containers are namespaces of Linux")
    container = Container(tmp_path)
    if reason := container.find_reason_against():
        pytest.skip(reason)
    return container


LOOK = """
import os, pathlib, tempfile
for folder in ("/", "/tmp", "/var/tmp", "/usr", "/dev/..", os.path.dirname(os.__file__)):
    try:
        pathlib.Path(folder, "written").touch()
    except OSError as error:
        continue
    print("written:", folder)
pathlib.Path("here").touch()
status = dict(line.split(":\t") for line in open("/proc/self/status").read().splitlines())
print(os.getpid(), os.getuid(), os.getgid(), os.getcwd(), tempfile.gettempdir(), status["CapEff"])
"""


@pytest.mark.once
def test_the_container_is_as_strict_as_it_says(container):
    """Process 1 of a container has no rights and can write only to its data folder."""
    code, out, err = container.run(entrypoint=[sys.executable, "-c", LOOK])

    assert (code, err) == (0, "")
    assert out.split() == ["1", container.user, container.group, "/data", "/data", "0" * 16]
    assert int(container.user) > 0
    assert container.names() == ["here"]


@pytest.mark.once
def test_a_stopped_container_is_resumed(container, holds):
    """SIGTERM stops an export that is process 1.

    The checkpoint is kept, and a new container resumes the export.
    """
    running = container.start("export", "x.jsonl", *SLOW)
    assert b"00 records" in running.stderr.readline()
    os.kill(find_first_process(running), signal.SIGTERM)
    _, err = running.communicate(timeout=300)

    assert running.returncode == ExitCode.TERMINATED
    assert b"cekat: terminated\ncekat: not finished: " in err
    assert container.names() == [
        "x.jsonl.checkpoint",
        "x.jsonl.checkpoint-journal",
    ]

    code, _, err = container.run("export", "x.jsonl", "--sandbox", "--rate-limit", "off")
    assert code == ExitCode.DONE
    assert " in 2 runs\n" in err
    assert holds(container.data / "x.jsonl", Sandbox(5000))
    assert container.names() == ["x.jsonl", "x.jsonl.manifest.json"]


STOPPED_EARLY = """
import os, signal, sys
from cekat_async.__main__ import main

class Stop:
    def find_spec(self, name, *_):
        if name == "cekat_async.cli":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Stop())
sys.exit(main())
"""


@pytest.mark.once
def test_a_container_that_is_stopped_while_it_starts(container):
    """SIGTERM ends process 1 even before the event loop runs, when the kernel would ignore it."""
    code, _, err = container.run("--version", entrypoint=[sys.executable, "-c", STOPPED_EARLY])

    assert (code, err) == (ExitCode.TERMINATED, "")


@pytest.mark.skipif(os.name != "posix", reason="a terminated process ends at once elsewhere")
def test_a_command_that_is_stopped_while_it_starts(ran):
    """SIGTERM also ends any other process during its start, with an exit code and no traceback."""
    ended = ran("--version", script=STOPPED_EARLY)

    assert (ended.code, ended.out, ended.err) == (ExitCode.TERMINATED, b"", "")


@pytest.mark.once
@pytest.mark.parametrize("target", ["/data/x.csv", "/data/x.parquet/", "/data/x.sqlite"])
def test_files_need_no_other_folder(container, target):
    """An export to a file works if only the target's folder is writable."""
    options = ("--sandbox", "--sandbox-size", "300")
    code, _, err = container.run("export", target, *options, env=NO_TEMPORARY_FOLDER, work="/")

    assert code == ExitCode.DONE
    assert "300 conversations, complete\n" in err


SORTING = """
import sys
from datetime import UTC, datetime
from cekat_async import Position
from cekat_async.export.checkpoint import Checkpoint, FetchedPage, Job
from cekat_async.export.manifest import Counts, Filters
from pathlib import Path

checkpoint = Checkpoint(Path("/data/x.checkpoint"))
checkpoint.open()
job = Job(account="a", target="t", filters=Filters(), began=datetime.now(UTC))
checkpoint.begin(job, {None: Position()})
keys = [f"{number * 7919 % 100_003:036}" for number in range(100_000)]
parts = [keys[start : start + 500] for start in range(0, len(keys), 500)]
pages = [FetchedPage(None, b"{}\\n" * len(part), part, Position()) for part in parts]
checkpoint.add_pages([*pages, pages[0]], Counts())
print(checkpoint.find_repeats())
checkpoint.index_keys()
print(len(checkpoint.known(keys[:10])))
checkpoint.close()
"""


@pytest.mark.once
def test_sorting_needs_no_other_folder(container):
    """SQLite sorts the ids of a large export in a file, or in memory if no folder is writable."""
    entrypoint = [sys.executable, "-c", SORTING]
    code, out, err = container.run(entrypoint=entrypoint, env=NO_TEMPORARY_FOLDER, work="/")

    assert (code, err) == (0, "")
    assert out.split() == ["500", "10"]


@pytest.mark.once
def test_standard_output_needs_a_folder(container):
    """Without a folder for its checkpoint, an export to standard output says what to set."""
    command = ("export", "-", "--sandbox", "--sandbox-size", "100")
    code, out, err = container.run(*command, env=NO_TEMPORARY_FOLDER, work="/")
    assert (code, out) == (ExitCode.TARGET_FAILED, "")
    assert "set TMPDIR to a folder that can be written, or pass --checkpoint FILE\n" in err

    code, out, _ = container.run(*command, work="/")
    assert (code, out.count("\n")) == (ExitCode.DONE, 100)


def test_the_user_is_a_number_and_not_root():
    """The image has a numeric user id, because Kubernetes with runAsNonRoot rejects user names."""
    (user,) = read_instructions("USER")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    documentation = (ROOT / "docs" / "how-to" / "containers.md").read_text(encoding="utf-8")
    assert f"runAsUser: {user.split(':')[0]}" in documentation


def test_a_base_image_is_named_by_its_version():
    """The image is based on a version of Python that the project supports and tests."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    (version,) = re.findall(r"^ARG PYTHON=(.+)$", text, re.MULTILINE)
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]

    assert set(re.findall("^FROM (\\S+)", text, re.MULTILINE)) == {"python:${PYTHON}-slim"}
    assert f"Programming Language :: Python :: {version}" in classifiers


def test_the_image_is_built_from_what_it_copies():
    """The Dockerfile copies all files that the build reads, and ``.dockerignore`` includes them."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hatch = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)

    assert copied == {
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        *project["project"]["license-files"],
        *hatch["packages"],
    }
    assert {name for name in ignored if name[0] == "!"} == {f"!{name}" for name in copied}
    assert {"cli", *extras.split(",")} <= {*project["project"]["optional-dependencies"]}
