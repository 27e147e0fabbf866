"""File targets: all formats hold the same records, and each target is complete or absent."""

# ruff: noqa: S603 - the processes are our own program

import errno
import gzip
import json
import os
import random
import subprocess
import sys
from contextlib import closing

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.malformed_records import LOSSLESS, NOT_UTF_8
from support.sinks import Given, a_manifest, list_names, publish, read_stored, some_records

from cekat_async import MissingExtraError, TargetError
from cekat_async.export import sink_for
from cekat_async.export.sinks.files.base import Output
from cekat_async.export.sinks.files.csv import CsvSink
from cekat_async.export.sinks.files.json_lines import (
    GzipJsonLinesSink,
    JsonLinesSink,
    ZstdJsonLinesSink,
)
from cekat_async.export.sinks.files.parquet import ParquetSink
from cekat_async.export.sinks.files.parquet_folder import ParquetFolderSink

LINES = [JsonLinesSink, GzipJsonLinesSink, ZstdJsonLinesSink]
SINKS = [*LINES, CsvSink, ParquetSink, ParquetFolderSink]
PLAIN = {
    JsonLinesSink: bytes,
    GzipJsonLinesSink: gzip.decompress,
    ZstdJsonLinesSink: lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
lines_only = pytest.mark.parametrize("kind", LINES)
each_sink = pytest.mark.parametrize("kind", SINKS)


def tree(folder):
    """Return the paths of everything in a folder, with the content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@lines_only
@pytest.mark.parametrize("records", [[], some_records(), LOSSLESS, [NOT_UTF_8]])
def test_lines_are_the_records(tmp_path, kind, records):
    """A JSON Lines file has each record byte for byte, with any compression."""
    target = tmp_path / "out"
    publish(kind(target), records)

    assert PLAIN[kind](target.read_bytes()) == b"".join(record + b"\n" for record in records)


@each_sink
@pytest.mark.parametrize("records", [[], some_records(), LOSSLESS])
def test_published_records_are_read_back(tmp_path, kind, records):
    """All records are read back from each format byte for byte, in their order."""
    sink = kind(tmp_path / "out")
    manifest = publish(sink, records, conversations=len(records))

    assert read_stored(sink) == records
    assert sink.manifest() == manifest
    assert manifest.conversations == len(records)


@given(st.lists(st.text(), max_size=20))
@settings(max_examples=10 * EFFORT)
@each_sink
def test_any_text_is_read_back(tmp_path_factory, kind, texts):
    """Any text in a note is read back from each format."""
    records = [
        json.dumps({"id": str(number), "notes": text}).encode() for number, text in enumerate(texts)
    ]
    sink = kind(tmp_path_factory.mktemp("any") / "out")
    publish(sink, records)

    assert read_stored(sink) == records


@lines_only
def test_the_same_records_make_the_same_file(tmp_path, kind):
    """The content of a file does not depend on its name or on the time."""
    for name in ("one", "another"):
        publish(kind(tmp_path / name), some_records())

    assert (tmp_path / "one").read_bytes() == (tmp_path / "another").read_bytes()


def test_the_gzip_header_says_nothing(tmp_path):
    """The gzip header has no time and no flags, and therefore no file name."""
    publish(GzipJsonLinesSink(tmp_path / "out"), [])

    assert (tmp_path / "out").read_bytes()[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


def test_a_zstd_file_is_one_frame_with_a_checksum(tmp_path):
    """A Zstandard file is one frame with a checksum, so that readers notice changed bytes."""
    publish(ZstdJsonLinesSink(tmp_path / "out"), some_records())
    data = (tmp_path / "out").read_bytes()
    frame = zstandard.ZstdDecompressor().decompressobj()
    frame.decompress(data)

    assert frame.eof
    assert frame.unused_data == b""
    assert zstandard.get_frame_parameters(data).has_checksum


@pytest.mark.parametrize(
    "target, module, extra",
    [
        ("x.jsonl.zst", "zstandard", "zstd"),
        ("x.parquet", "pyarrow", "parquet"),
        ("x.parquet/", "pyarrow", "parquet"),
        ("x.duckdb", "duckdb", "duckdb"),
        ("postgresql://h/x", "psycopg", "postgres"),
    ],
)
def test_a_missing_extra(monkeypatch, target, module, extra):
    """If its library is missing, a sink is not created, and the error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=rf"pip install 'cekat-async\[{extra}\]'$"):
        sink_for(target)


@each_sink
@pytest.mark.parametrize("fail_after", [0, 1, 2])
def test_a_failure_changes_nothing(tmp_path, kind, fail_after):
    """An export that fails while it writes leaves target and manifest unchanged."""
    sink = kind(tmp_path / "out")
    publish(sink, some_records(20))
    before = tree(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        publish(sink, Given(some_records(), fail_after=fail_after, error=KeyboardInterrupt))

    assert tree(tmp_path) == before
    assert sink.manifest() is not None


@each_sink
def test_a_full_disk_is_reported(tmp_path, kind):
    """If the disk is full, the system's error is reported once, and no partial file is left."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, "tests")
from support.sinks import publish, some_records
from {kind.__module__} import {kind.__name__} as kind
from cekat_async import TargetError
sink = kind({str(tmp_path / "out")!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    publish(sink, some_records(300))
except TargetError as error:
    print(error)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "cannot write" in process.stdout
    assert "too large" in process.stdout
    assert process.stderr == ""
    assert tree(tmp_path) == {}


@each_sink
@pytest.mark.parametrize("nth", range(4))
def test_a_disk_that_is_full_for_a_moment(tmp_path, monkeypatch, kind, nth):
    """A failed write is reported even if later writes succeed."""
    write, left = Output.write, iter(range(nth))

    def once(output, data):
        if next(left, None) is None:
            monkeypatch.undo()
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(output, data)

    monkeypatch.setattr(Output, "write", once)
    with pytest.raises(TargetError, match="No space left"):
        publish(kind(tmp_path / "out"), some_records(500))

    assert tree(tmp_path) == {}


@each_sink
def test_a_target_that_was_changed_is_reported(tmp_path, kind):
    """A target that differs from what the last export wrote is reported."""
    sink = kind(tmp_path / "out")
    publish(sink, some_records(20))
    file = tmp_path / "out"
    if file.is_dir():
        file /= "part-00000.parquet"
    file.write_bytes(file.read_bytes() + b"\n")

    with pytest.raises(TargetError, match="was changed after the last export"):
        sink.verify(sink.manifest())


@each_sink
def test_a_system_that_opens_no_folders(tmp_path, monkeypatch, kind):
    """If folders cannot be opened and therefore not synced, everything else still works."""
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    sink = kind(tmp_path / "out")
    publish(sink, some_records(5))

    assert read_stored(sink) == some_records(5)


@each_sink
@pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
def test_all_of_it_is_for_its_owner(tmp_path, kind):
    """Only the owner can read a new target and the files next to it, whatever the umask."""
    old = os.umask(0)
    try:
        publish(kind(tmp_path / "out"), some_records(5))
    finally:
        os.umask(old)

    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")} == {0}


@pytest.mark.parametrize("kind", SINKS[:-1])
@pytest.mark.parametrize("name, reason", [("folder", "it is a folder"), ("no/out", "no folder")])
def test_a_place_for_no_file_is_refused(tmp_path, kind, name, reason):
    """A target that is a folder, or in a missing folder, is reported before the first request."""
    (tmp_path / "folder").mkdir()

    with pytest.raises(TargetError, match=reason):
        kind(tmp_path / name).open()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a matter of POSIX systems")
def test_a_pipe_is_refused_before_anything_is_read(tmp_path):
    """If the target is a pipe, opening it does not wait, even if a new manifest exists."""
    target = tmp_path / "x.jsonl"
    os.mkfifo(target)
    manifest = tmp_path / "x.jsonl.manifest.json.new"
    manifest.write_bytes(a_manifest(str(target)).to_json())

    with pytest.raises(TargetError, match="not a regular file"):
        sink_for(target).open()
    assert manifest.exists()


@each_sink
def test_a_manifest_that_cannot_take_its_name(tmp_path, monkeypatch, kind):
    """If only the rename of the manifest fails, the next export repeats that rename."""
    sink, replace = kind(tmp_path / "out"), os.replace
    publish(sink, some_records(5))

    def refused(source, *names):
        if os.fspath(source).endswith(".manifest.json.new"):
            raise OSError(errno.EIO, "refused", os.fspath(source))
        replace(source, *names)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(TargetError, match="refused"):
        publish(sink, some_records(9), runs=2)
    monkeypatch.undo()
    with closing(sink):
        sink.open()

    assert (sink.manifest().runs, read_stored(sink)) == (2, some_records(9))
    assert list_names(tmp_path) == ["out", "out.manifest.json"]


@each_sink
def test_a_target_without_a_manifest_has_none(tmp_path, kind):
    """An export cannot add to a target that was copied without its manifest."""
    sink = kind(tmp_path / "out")
    publish(sink, some_records(5))
    (tmp_path / "out.manifest.json").unlink()

    assert sink.manifest() is None


CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "open")


def killed_at(kind, target, call, records):
    """Publish in a child process, which exits at the given write or system call."""
    if (child := os.fork()) == 0:
        try:
            left = iter(range(call))
            _die_in_time(left)
            publish(kind(target), records, runs=2)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _die_in_time(left):
    def counted(function):
        def call(*args, **options):
            if next(left, None) is None:
                os._exit(9)
            return function(*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    Output.write = counted(Output.write)


@each_sink
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a matter of POSIX systems")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
def test_publishing_again_after_a_kill(tmp_path, kind, first):
    """After one or two kills, the target is the old or the new one.

    Publishing again gives the new target.
    """
    seeded = random.Random(f"{kind.__name__} {first}")
    old, new = some_records(8), some_records(12)
    whole = tmp_path / "whole" / "out"
    whole.parent.mkdir()
    publish(kind(whole), old)
    publish(kind(whole), new, runs=2)
    for number in range(2 * EFFORT):
        target = tmp_path / str(number) / "out"
        target.parent.mkdir()
        if not first:
            publish(kind(target), old)
        for _ in range(seeded.randint(1, 2)):
            killed_at(kind, target, seeded.randrange(30), new)

        sink = kind(target)
        with closing(sink):
            sink.open()
            manifest = sink.manifest()
        assert (target.exists() and read_stored(sink)) in ((new, False) if first else (new, old))
        assert first or manifest.runs == (2 if read_stored(sink) == new else 0)
        publish(sink, new, runs=2)

        found = tree(target.parent)
        assert {name: found[name] for name in found if "manifest" not in name} == {
            name: data for name, data in tree(whole.parent).items() if "manifest" not in name
        }
        assert set(found) == set(tree(whole.parent))
        assert sink.manifest() == a_manifest(
            str(target), runs=2, checksum=kind(whole).manifest().checksum
        )
