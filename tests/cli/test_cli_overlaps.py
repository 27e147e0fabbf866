"""Two exports of one target at once: the second ends with a code of its own, in one line."""

import json
import os
import signal

import pytest

from cekat_async.cli import ExitCode

# Of its pages less than twenty come at once, and the others within minutes.
SLOW = ("--sandbox", "--rate-limit", "20/60")
AGAIN = ("--sandbox", "--sandbox-size", "100", "--checkpoint", "other")


@pytest.mark.parametrize("target", ["x.jsonl", "x.parquet/", "x.sqlite", "x.duckdb"])
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_an_overlapping_run(process, cekat, tmp_path, target):
    """While one export runs another one, with its own checkpoint, ends with 12 and changes nothing.

    When the first one was killed, the next is not refused any more.
    """
    running = process("export", target, *SLOW, bufsize=0)
    assert b"00 records" in running.stderr.readline()
    for _ in range(2):
        ended = cekat("export", target, *AGAIN)
        assert ended.code == ExitCode.TARGET_BUSY == 12
        assert ended.complaint == (
            f"cekat: another export is writing {target}: run this one again when that one has ended"
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
    """The same command at once, with the same checkpoint, ends with 12 as well."""
    running = process("export", "x.jsonl", *SLOW, bufsize=0)
    assert b"00 records" in running.stderr.readline()

    assert cekat("export", "x.jsonl", *SLOW).code == ExitCode.TARGET_BUSY
    assert cekat("export", "x.jsonl", *SLOW, "--restart").code == ExitCode.TARGET_BUSY
    assert cekat("export", "y.jsonl", *AGAIN[:3], "--checkpoint", "x.jsonl.checkpoint").code == 12
