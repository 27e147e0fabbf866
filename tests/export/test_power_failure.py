"""After a power failure at any moment, a target is the complete old or the complete new one."""

import os
from contextlib import closing

import pytest
from support.effort import EFFORT
from support.power import Disk, laid_out
from support.sinks import list_names, publish, read_stored, some_records

from cekat_async.export import sink_for

FILES = ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.parquet", "x.parquet/"]
OLD, NEW = sorted(some_records(8)), sorted(some_records(12))

pytestmark = pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX systems")


def records_in(sink):
    """Return the sorted records of a target, or None if there is none."""
    if not os.path.exists(sink.target):  # noqa: PTH110 - a name with a final slash
        return None
    if sink.stored() is not None:
        return sorted(read_stored(sink))
    with sink.connection() as opened:
        rows = opened.execute("SELECT raw FROM conversations").fetchall()
    return sorted(raw.encode() for (raw,) in rows)


def published(folder, name, first):
    """Publish once or twice, and return the disk that recorded the last publication."""
    folder.mkdir()
    if not first:
        with closing(sink_for(f"{folder}/{name}")) as sink:
            publish(sink, OLD, runs=1)
    with Disk(folder) as disk, closing(sink_for(f"{folder}/{name}")) as sink:
        publish(sink, NEW, runs=2)
    return disk


each_case = pytest.mark.parametrize(
    "name,first",
    [
        *(pytest.param(name, True, id=f"{name}-first") for name in [*FILES, "x.sqlite"]),
        *(pytest.param(name, False, id=f"{name}-again") for name in FILES),
        pytest.param("x.duckdb", True, id="x.duckdb-first", marks=pytest.mark.once),
    ],
)


@each_case
def test_a_power_failure_at_any_moment(tmp_path, name, first):
    """After a power failure, the old or the new target has its own manifest and can be replaced."""
    disk = published(tmp_path / "disk", name, first)
    found, states = set(), disk.states
    if name == "x.duckdb" and EFFORT == 1:  # opening a DuckDB file is slow
        states = [*states[:-1:3], states[-1]]
    for number, state in enumerate(states):
        folder = laid_out(state, tmp_path / str(number))
        with closing(sink_for(f"{folder}/{name}")) as sink:
            assert records_in(sink) in (None, OLD, NEW)
            sink.open()
            content = read_content(sink)
        found.add(content == (NEW, 2))
        assert content in ((NEW, 2), (None, None) if first else (OLD, 1))
        assert list_names(folder) == ([] if content[0] is None else list_names(tmp_path / "disk"))

    assert found == {True, False}


@each_case
def test_when_it_is_done_it_is_on_the_disk(tmp_path, name, first):
    """After an export has returned, target and manifest survive a power failure."""
    disk = published(tmp_path / "disk", name, first)
    for number, state in enumerate(disk.last):
        folder = laid_out(state, tmp_path / str(number))
        with closing(sink_for(f"{folder}/{name}")) as sink:
            assert read_content(sink) == (NEW, 2)


def read_content(sink):
    """Return the records of a target, and the number of runs in its manifest."""
    manifest = sink.manifest()
    return records_in(sink), manifest and manifest.runs
