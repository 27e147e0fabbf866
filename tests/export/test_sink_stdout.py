"""Standard output as a target: every record once, and clear errors."""

# ruff: noqa: S603 - the processes are our own program

import errno
import io
import os
import subprocess
import sys

import pytest
from support.malformed_records import LOSSLESS, NOT_UTF_8
from support.sinks import Given, a_manifest, publish, some_records

from cekat_async import TargetError
from cekat_async.export.sinks.files.stdout import StdoutSink

PROGRAM = """
import sys
sys.path.insert(0, "tests")
from support.sinks import publish, some_records
from cekat_async.export.sinks.files.stdout import StdoutSink
publish(StdoutSink(), some_records(250))
"""


class Few(io.BytesIO):
    """A raw stream that accepts three bytes per write, and none once it is full."""

    def __init__(self, room=1 << 30):
        super().__init__()
        self.room = room

    def write(self, data):
        count = min(3, self.room - self.tell())
        return super().write(bytes(data[:count])) if count else None


class Broken(io.BytesIO):
    """A stream whose writes fail."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, data):
        raise self.error


def lines(records):
    return b"".join(record + b"\n" for record in records)


@pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_every_record_is_a_line(options):
    """A program at the other end of a pipe receives each record byte for byte."""
    process = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM], capture_output=True, check=True
    )

    assert process.stdout == lines(some_records(250))


def test_it_writes_to_what_stdout_is_then(capfdbinary):
    """The sink looks up standard output at its first write, and leaves it open."""
    sink = StdoutSink()
    publish(sink, [])
    publish(sink, [*LOSSLESS, NOT_UTF_8])

    assert capfdbinary.readouterr().out == lines([*LOSSLESS, NOT_UTF_8])
    assert not sys.stdout.closed


def test_it_keeps_nothing():
    """A sink for standard output has a name, but no manifest, checkpoint or stored records."""
    sink = StdoutSink(io.BytesIO())

    assert publish(sink, [b"1"]) == a_manifest("standard output")
    assert (sink.target, sink.checkpoint) == ("standard output", None)
    assert sink.manifest() is None
    assert sink.stored() is None


def test_a_stream_that_takes_little_at_a_time_gets_all():
    """All records are written even if each write accepts only a few bytes."""
    stream = Few()
    publish(StdoutSink(stream), some_records(3))

    assert stream.getvalue() == lines(some_records(3))


def test_a_reader_that_is_gone():
    """A ``BrokenPipeError`` is raised unchanged, because the command line handles it."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "wb", buffering=0)

    with stream, pytest.raises(BrokenPipeError):
        publish(StdoutSink(stream), some_records(3))


@pytest.mark.parametrize(
    "stream, reason",
    [
        (Few(room=6), "its reader is too slow"),
        (Broken(OSError(errno.ENOSPC, "No space left")), "No space left"),
        (Broken(ValueError("write to closed file")), "write to closed file"),
    ],
    ids=["not blocking", "full disk", "closed"],
)
def test_a_stream_that_fails(stream, reason):
    """If the stream fails, the package's own error is raised, with the stream's error as cause."""
    with pytest.raises(TargetError, match=f"cannot write standard output: {reason}") as failed:
        publish(StdoutSink(stream), [b"1234567"])

    assert isinstance(failed.value.__cause__, (OSError, ValueError))


@pytest.mark.parametrize("stdout", ["none", "text alone", "closed"])
def test_no_standard_output_is_reported_first(monkeypatch, stdout):
    """Without standard output, the export fails before any request."""
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    streams = {"none": None, "text alone": io.StringIO(), "closed": closed}
    monkeypatch.setattr(sys, "stdout", streams[stdout])

    with pytest.raises(TargetError, match="cannot write standard output: it is closed"):
        StdoutSink().open()


def test_an_error_of_the_records_is_theirs():
    """An error while reading the records is raised unchanged, even an ``OSError``."""
    error = OSError(errno.EIO, "the checkpoint cannot be read")

    with pytest.raises(OSError, match="the checkpoint"):
        publish(StdoutSink(io.BytesIO()), Given([b"1"], fail_after=0, error=error))
