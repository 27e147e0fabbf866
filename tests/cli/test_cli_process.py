"""Signals, overlapping runs, pipes, full disks, and the sandbox as a server."""

# ruff: noqa: S603 - the processes are our own program

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.effort import EFFORT

from cekat_async.cli import ExitCode
from cekat_async.sandbox import Sandbox

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")

# Fewer than twenty of the export's fifty pages arrive immediately, and the rest take minutes. So
# any signal arrives during the export.
SLOW = ("--sandbox", "--rate-limit", "20/60")
AGAIN = ("--sandbox", "--sandbox-size", "100", "--checkpoint", "other")


@pytest.mark.parametrize(
    "loop, sent, code, word",
    [
        ("uvloop", signal.SIGINT, ExitCode.INTERRUPTED, "interrupted"),
        ("asyncio", signal.SIGTERM, ExitCode.TERMINATED, "terminated"),
        ("uvloop", signal.SIGTERM, ExitCode.TERMINATED, "terminated"),
        ("asyncio", signal.SIGINT, ExitCode.INTERRUPTED, "interrupted"),
    ][: 4 if EFFORT > 1 else 2],
    indirect=["loop"],
)
def test_an_export_that_is_stopped(process, tmp_path, loop, sent, code, word):
    """Ctrl-C and SIGTERM end an export in seconds.

    The export leaves no target and says how to resume.
    """
    # The pipe is unbuffered, because otherwise bytes after the first line would be lost.
    running = process("export", "x.jsonl", *SLOW, bufsize=0)
    assert b"00 records" in running.stderr.readline()
    running.send_signal(sent)
    _, err = running.communicate(timeout=300)
    *_, first, second = err.decode().splitlines()

    assert running.returncode == code
    assert first == f"cekat: {word}"
    done = r"cekat: not finished: [\d,]+ conversations are in x\.jsonl\.checkpoint"
    assert re.fullmatch(rf"{done}\. To resume, run the same command again", second)
    assert (tmp_path / "x.jsonl.checkpoint").exists()
    assert not (tmp_path / "x.jsonl").exists()
    assert b"Traceback" not in err


@pytest.mark.once
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_export_is_resumed(process, cekat, tmp_path, holds, sent):
    """The same command resumes a stopped export, with the result of an uninterrupted export."""
    size = ("--sandbox", "--sandbox-size", "3000")
    running = process("export", "x.jsonl", *size, "--rate-limit", "20/60", bufsize=0)
    assert b"00 records" in running.stderr.readline()
    running.send_signal(sent)
    running.communicate(timeout=300)
    ended = cekat("export", "x.jsonl", *size)
    progress = ended.err.splitlines()[0]

    assert ended.code == ExitCode.DONE
    assert int(progress.split()[0].replace(",", "")) >= 100  # the number of stored records
    assert " in 2 runs\n" in ended.err
    assert holds(tmp_path / "x.jsonl", Sandbox(3000))
    assert not (tmp_path / "x.jsonl.checkpoint").exists()


@pytest.mark.once
@pytest.mark.parametrize("target", ["x.jsonl", "x.csv", "x.sqlite"])
def test_an_export_that_is_stopped_while_it_publishes(process, cekat, tmp_path, target):
    """A signal during publishing ends the export immediately, without a target.

    The export can be resumed.
    """
    size = ("--sandbox", "--sandbox-size", "2000", "--rate-limit", "off")
    running = process("export", target, *size, script=SLOW_PUBLISHING, bufsize=0)
    assert running.stdout.readline() == b"now\n"
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=300)

    assert running.returncode == ExitCode.TERMINATED
    assert b" conversations are in " in err
    assert not (tmp_path / target).exists()
    assert not (tmp_path / f"{target}.new").exists()
    ended = cekat("export", target, *size)
    assert ended.code == ExitCode.DONE
    assert f"{target}: 2,000 conversations, complete\n" in ended.err


SLOW_PUBLISHING = """
import sys, time
from cekat_async.cli import run
from cekat_async.export.publishing import FetchedRecords

def slowly(self):
    for number, batch in enumerate(self._checkpoint.latest()):
        if number == 1:
            print("now", flush=True)
        time.sleep(0.2)
        self._on_batch(len(batch))
        yield batch

FetchedRecords.__iter__ = slowly
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "loop, sent, moment",  # all pairs of values occur
    [
        ("uvloop", signal.SIGINT, "publishing"),
        ("uvloop", signal.SIGTERM, "closing"),
        ("asyncio", signal.SIGINT, "closing"),
        ("asyncio", signal.SIGTERM, "publishing"),
    ],
    indirect=["loop"],
)
def test_an_export_that_is_stopped_too_late(process, tmp_path, loop, sent, moment):
    """If a signal arrives during the final rename or later, the export succeeds and says so."""
    running = process(env={"MOMENT": moment}, script=STOPPED_LATE, bufsize=0)
    assert running.stdout.readline() == b"now\n"
    running.send_signal(sent)
    # The export's thread continues for some time after the event loop has received the signal.
    _, err = running.communicate(timeout=300)

    assert running.returncode == ExitCode.DONE
    assert b"x.jsonl: 250 conversations, complete\n" in err
    assert b"terminated" not in err
    assert b"interrupted" not in err
    assert (tmp_path / "x.jsonl").read_bytes().count(b"\n") == 250
    assert not (tmp_path / "x.jsonl.checkpoint").exists()


STOPPED_LATE = """
import asyncio, os, sys, time
from cekat_async import CekatClient
from cekat_async.cli import run
from cekat_async.export.sinks.files import base as file_sink

sync, leave = file_sink.sync_folder, CekatClient.__aexit__

def slow_sync(folder):
    if os.environ["MOMENT"] == "publishing":
        print("now", flush=True)
        time.sleep(0.5)
    sync(folder)

async def slow_leave(self, *error):
    await leave(self, *error)
    if os.environ["MOMENT"] == "closing":
        print("now", flush=True)
        await asyncio.sleep(60)

file_sink.sync_folder, CekatClient.__aexit__ = slow_sync, slow_leave
sys.exit(run(["export", "x.jsonl", "--sandbox", "--sandbox-size", "250"]))
"""


@pytest.mark.parametrize("arguments", [(), ("-v",)])
def test_a_log_whose_reader_goes_away(process, tmp_path, holds, arguments):
    """An export continues to the end if the reader of its log goes away."""
    running = process(*arguments, "export", "x.jsonl", "--sandbox", "--sandbox-size", "800")
    running.stderr.readline()
    running.stderr.close()
    running.wait(300)

    assert running.returncode == ExitCode.DONE
    assert holds(tmp_path / "x.jsonl", Sandbox(800))


@full_disk
@pytest.mark.parametrize(
    "arguments, code",
    [
        (("export", "x.jsonl", "--sandbox"), ExitCode.DONE),
        (("-v", "conversations", "--sandbox"), ExitCode.DONE),
        (("inboxes",), ExitCode.USAGE),
        (("exprot",), ExitCode.USAGE),
        ((), ExitCode.USAGE),
    ],
)
def test_a_log_on_a_full_disk(ran, arguments, code):
    """If a message cannot be written, the work and the exit code stay the same."""
    if "--sandbox" in arguments:
        arguments += ("--sandbox-size", "250")
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        assert ran(*arguments, stderr=full).code == code


LISTING, TO_FILE, TO_OUTPUT = ("conversations",), ("export", "x.jsonl"), ("export", "-")
DIAGNOSIS = ("doctor",)


@pytest.mark.parametrize(
    "command, descriptor",
    [
        *((command, 1) for command in (LISTING, TO_FILE, TO_OUTPUT, DIAGNOSIS)),
        *((TO_OUTPUT, 0), (LISTING, 2), (TO_FILE, 2)),
        *[(LISTING, 0), (TO_FILE, 0), (TO_OUTPUT, 2)][: 3 if EFFORT > 1 else 0],
    ],
)
def test_closed_from_the_beginning(process, command, descriptor):
    """Without standard output, a listing fails in one line.

    A listing does not need the other two streams.
    """
    started = f'exec "$0" -m cekat_async "$@" {descriptor}>&-'
    shell = ["sh", "-c", started, sys.executable, *command, "--sandbox", "--sandbox-size", "50"]
    done = subprocess.run(shell, capture_output=True, check=False)

    if descriptor == 1 and command[-1] != "x.jsonl":
        assert done.returncode == ExitCode.TARGET_FAILED
        assert done.stderr.startswith(b"cekat: cannot write ")
        assert done.stderr.endswith(b"standard output: it is closed\n")
        assert done.stderr.count(b"\n") == 1
    else:
        assert done.returncode == ExitCode.DONE
        assert b"Traceback" not in done.stderr


@pytest.mark.usefixtures("loop")
def test_a_listing_that_is_stopped(process):
    """Ctrl-C ends a listing with one line and the exit code that shells use for Ctrl-C."""
    running = process("conversations", *SLOW)
    running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=300)

    assert running.returncode == ExitCode.INTERRUPTED
    assert err == b"cekat: interrupted\n"


@pytest.mark.parametrize(
    "command", [("conversations", "--sandbox"), ("sandbox",), ("export", "--help")]
)
def test_a_reader_that_goes_away(process, command):
    """``cekat … | head -1`` ends without a message."""
    running = process(*command, env={"PYTHONUNBUFFERED": "1"})
    running.stdout.readline()
    running.stdout.close()
    if command[0] == "sandbox":
        running.send_signal(signal.SIGTERM)
    running.wait(300)

    assert running.returncode in {ExitCode.PIPE_CLOSED, ExitCode.DONE}
    assert running.stderr.read() in {b"", b"cekat: the sandbox has stopped\n"}


def test_an_export_into_a_pipe(ran):
    """``cekat export -`` writes nothing but data to standard output."""
    ended = ran("export", "-", "--sandbox", "--sandbox-size", "250")

    assert ended.code == ExitCode.DONE
    assert sorted(ended.out.splitlines()) == sorted(one for _, one in Sandbox(250).records())
    assert "standard output: 250 conversations, complete\n" in ended.err
    assert "manifest" not in ended.err


def test_a_reader_of_an_export_that_goes_away(process):
    """``cekat export - | head -1`` ends with the code of a closed pipe and says what is stored."""
    running = process("export", "-", *SLOW[:1])
    running.stdout.close()
    _, err = running.communicate(timeout=300)

    assert running.returncode == ExitCode.PIPE_CLOSED
    assert err.splitlines()[-1] == (
        b"cekat: not finished, and nothing is saved. Use --checkpoint FILE to be able to resume"
    )


@full_disk
@pytest.mark.parametrize(
    "command, says",
    [
        (("export", "-"), "cannot write standard output: No space left on device"),
        (("conversations",), "cannot write to standard output: No space left on device"),
        (("inboxes",), "cannot write to standard output: No space left on device"),
    ],
)
def test_standard_output_on_a_full_disk(ran, command, says):
    """``cekat … > file`` on a full disk fails in one line with the exit code of a failed target."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        ended = ran(*command, "--sandbox", "--sandbox-size", "250", stdout=full)
    lines = [line for line in ended.err.splitlines() if line.startswith("cekat: ")]

    assert ended.code == ExitCode.TARGET_FAILED
    assert lines[0] == f"cekat: {says}"
    assert "Exception ignored" not in ended.err


@pytest.fixture
def sandbox(process, request):
    """A sandbox run by the command line, and its output."""
    options = getattr(request, "param", ())
    running = process("sandbox", "--conversations", "42", *options, env={"PYTHONUNBUFFERED": "1"})
    banner = []
    while not (banner and "curl" in banner[-1]):
        banner.append(running.stdout.readline().decode())
        assert banner[-1], running.stderr.read()
    return running, "".join(banner)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_sandbox_ends_well(sandbox, sent):
    """After Ctrl-C, a sandbox exits with success."""
    running, _ = sandbox
    running.send_signal(sent)
    _, err = running.communicate(timeout=300)

    assert running.returncode == 0
    assert err == b"cekat: the sandbox has stopped\n"


def test_the_lines_of_a_sandbox_can_be_pasted(sandbox, ran):
    """The printed variables and the curl line work when pasted."""
    _, banner = sandbox
    variables = dict(re.findall(r"export (\w+)=(\S+)", banner))
    listing = ran("conversations", env=variables)

    assert set(variables) == {"CEKAT_BASE_URL", "CEKAT_API_KEY"}
    assert (listing.code, listing.err) == (0, "")
    assert listing.out == b"".join(record + b"\n" for _, record in Sandbox(42).records())
    assert len(json.loads(_answer_to(banner.strip().splitlines()[-1]))["data"]) == 5


@pytest.mark.parametrize(
    "sandbox, changes", [((), False), (("--live",), True)], indirect=["sandbox"]
)
def test_only_a_live_sandbox_changes(sandbox, changes, ran):
    """With ``--live``, a second listing has conversations that changed since the first."""
    _, banner = sandbox
    variables = dict(re.findall(r"export (\w+)=(\S+)", banner))
    first, second = (ran("conversations", env=variables).out for _ in range(2))

    assert (first != second) == changes


def _answer_to(curl):
    """Run a curl line. If curl is not installed, send the same request."""
    if shutil.which("curl"):
        return subprocess.run([*shlex.split(curl), "-sf"], capture_output=True, check=True).stdout
    _, _, header, url = shlex.split(curl)
    # The URL is the sandbox's own.
    request = urllib.request.Request(url, headers=dict([header.split(": ", 1)]))  # noqa: S310
    with urllib.request.urlopen(request) as reply:  # noqa: S310
        return reply.read()


def test_the_installed_script_is_the_same(ran):
    """The installed ``cekat`` script is the same program as ``python -m cekat_async``."""
    script = Path(sys.executable).with_name("cekat")
    if not script.exists():
        pytest.skip("not installed as a script")
    done = subprocess.run([script, "--version"], capture_output=True, check=True)

    assert done.stdout == ran("--version").out


@pytest.mark.parametrize("target", ["x.jsonl", "x.parquet/", "x.sqlite", "x.duckdb"])
def test_an_overlapping_run(process, cekat, tmp_path, target):
    """A second export with another checkpoint exits with 12 and changes nothing.

    After the first export is killed, the next export is not refused.
    """
    running = process("export", target, *SLOW, bufsize=0)
    assert b"00 records" in running.stderr.readline()
    for _ in range(2):
        ended = cekat("export", target, *AGAIN)
        assert ended.code == ExitCode.TARGET_BUSY == 12
        assert ended.complaint == (
            f"cekat: another export is writing {target}. Run this export again after it has "
            "finished"
        )
        assert running.poll() is None
    ended = cekat("export", target, *AGAIN, "--log-format", "json")
    message = json.loads(ended.err)
    assert (message["exit_code"], message["error"]) == (12, "TargetBusyError")
    assert not (tmp_path / "other").exists()

    running.send_signal(signal.SIGKILL)
    running.wait()
    assert cekat("export", target, *AGAIN).code == ExitCode.DONE
    assert not list(tmp_path.glob("*.lock"))


def test_the_same_command_twice(process, cekat):
    """If the same command runs twice at the same time, the second one also exits with 12."""
    running = process("export", "x.jsonl", *SLOW, bufsize=0)
    assert b"00 records" in running.stderr.readline()

    assert cekat("export", "x.jsonl", *SLOW).code == ExitCode.TARGET_BUSY
    assert cekat("export", "x.jsonl", *SLOW, "--restart").code == ExitCode.TARGET_BUSY
    assert cekat("export", "y.jsonl", *AGAIN[:3], "--checkpoint", "x.jsonl.checkpoint").code == 12
