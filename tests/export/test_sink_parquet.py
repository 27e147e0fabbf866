"""Parquet: all exports have the same schema, and a folder is completely old or new."""

# ruff: noqa: S603 - the process is our own program

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.malformed_records import HUGE, LOSSLESS, NOT_UTF_8, record
from support.sinks import list_names, publish, read_stored, some_records

from cekat_async import ConfigurationError, TargetError
from cekat_async.export.sinks.files import parquet
from cekat_async.export.sinks.files.parquet import ParquetSink
from cekat_async.export.sinks.files.parquet_folder import ParquetFolderSink
from cekat_async.frames.columns import COLUMNS, build_row


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.parquet"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


@pytest.mark.parametrize(
    "records", [[], some_records(300), LOSSLESS, [b"17"], [record(labels=[], notes=None)]]
)
def test_the_schema_is_always_the_same(target, records):
    """Each column has its type, whatever the records contain or lack."""
    publish(ParquetSink(target), records)

    label = pa.struct([(name, pa.string()) for name in ("id", "name", "color")])
    types = {"text": pa.string(), "json": pa.string(), "raw": pa.string()}
    assert pq.read_schema(target) == pa.schema(
        [
            (
                column.name,
                pa.list_(label)
                if column.name == "labels"
                else types.get(column.kind, pa.timestamp("us", tz="UTC")),
            )
            for column in COLUMNS
        ]
    )


def test_the_rows_are_those_of_every_table(target):
    """Rows have the values of every table: UTC times, label structs, and JSON as text."""
    records = [*some_records(300), *LOSSLESS]
    publish(ParquetSink(target), records)
    table = pq.read_table(target)
    table.validate(full=True)

    for row, raw in zip(table.to_pylist(), records, strict=True):
        expected = dict(zip(row, build_row(raw), strict=True))
        labels, text = row.pop("labels"), expected.pop("labels")
        assert row == expected
        assert (labels is None) == (text is None)


@pytest.mark.parametrize(
    "sent, stored",
    [
        (None, []),
        ([], []),
        ([{"id": "1"}], [{"id": "1", "name": None, "color": None}]),
        (
            [{"id": "1", "name": "é\0", "color": "#fff"}, {"x": 1}],
            [
                {"id": "1", "name": "é\0", "color": "#fff"},
                {"id": None, "name": None, "color": None},
            ],
        ),
    ],
)
def test_labels_are_structs(target, sent, stored):
    """A label is a struct of its known fields. A null label is null."""
    publish(ParquetSink(target), [record(labels=sent), b"17", record(labels=sent)])

    assert pq.read_table(target)["labels"].to_pylist() == [stored, None, stored]


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+00:00", "1969-12-31T23:59:59.999999+00:00", "9999-12-31T23:59:59+00:00"],
)
def test_every_moment_is_exact(target, moment):
    """A time is exact to the microsecond, even before 1970."""
    publish(ParquetSink(target), [record(created_at=moment)])

    assert pq.read_table(target)["created_at"][0].as_py().isoformat() == moment


def test_a_column_gets_its_first_value_late(target, monkeypatch):
    """A column that is empty in the first row groups still has its values in later ones."""
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 100)
    records = [record(id=str(n), notes=None, resolved_at=None) for n in range(250)]
    records.append(record(id="last", notes="x", resolved_at="2026-01-01T00:00:00Z"))
    publish(ParquetSink(target), records)

    table = pq.ParquetFile(target)
    assert table.num_row_groups == 3
    assert table.read()["notes"].to_pylist() == [None] * 250 + ["x"]
    assert read_stored(ParquetSink(target)) == records


def test_large_records_make_small_row_groups(target, monkeypatch):
    """A row group ends at a certain number of bytes, even if the group has few rows."""
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 100_000)
    publish(ParquetSink(target), [record(notes="x" * 1000)] * 250)

    assert pq.ParquetFile(target).num_row_groups == 3


def test_bytes_that_are_no_text(target):
    """Invalid UTF-8 becomes a replacement character, because Parquet strings must be valid."""
    publish(ParquetSink(target), [NOT_UTF_8])

    assert read_stored(ParquetSink(target)) == [NOT_UTF_8.replace(b"\xe9", b"\xef\xbf\xbd")]


@pytest.mark.parametrize("kind", [ParquetSink, ParquetFolderSink])
def test_others_read_it(folder, kind):
    """DuckDB, pandas and pyarrow read every record, and read times as a time type."""
    records = [*some_records(300), HUGE]
    publish(kind(folder), records)
    raws = [raw.decode() for raw in records]
    where = folder / "*.parquet" if folder.is_dir() else folder

    query = "select raw, year(created_at) from read_parquet(?)"
    assert duckdb.execute(query, [str(where)]).fetchall() == [(raw, 2026) for raw in raws]
    frame = pd.read_parquet(folder)
    assert frame["raw"].tolist() == raws
    assert str(frame["created_at"].dtype) == "datetime64[us, UTC]"
    assert pq.read_table(folder)["raw"].to_pylist() == raws


OTHERS = [
    (pa.table({"x": [1]}), "has other columns .*and 21 more; it also has x. Move it"),
    (None, "is not a Parquet file: move it away, or choose another target"),
]


@pytest.mark.parametrize("kind", [ParquetSink, ParquetFolderSink])
@pytest.mark.parametrize("content, reason", OTHERS, ids=["another table", "no table"])
def test_a_file_that_no_export_made_is_refused(folder, kind, content, reason):
    """A file that no export made is reported before the first request and is unchanged."""
    file = folder
    if kind is ParquetFolderSink:
        folder.mkdir()
        file = folder / "part-00000.parquet"
    if content:
        pq.write_table(content, file)
    else:
        file.write_bytes(b"PAR1 or so")
    before = file.read_bytes()

    with pytest.raises(TargetError, match=reason):
        kind(folder).open()
    assert file.read_bytes() == before
    assert list_names(folder.parent) == ["out"]


@pytest.mark.parametrize(
    "change, difference",
    [
        (lambda table: table.drop(["extra"]), "it has no column extra"),
        (lambda table: table.append_column("more", table["id"]), "it also has more"),
        (lambda table: table.select(table.column_names[::-1]), "they are in another order"),
        (
            lambda table: table.set_column(0, "id", table["id"].cast(pa.large_string())),
            "id is large_string instead of string",
        ),
    ],
)
def test_different_columns_are_reported(target, change, difference):
    """The error names the columns that differ from those of an export."""
    publish(ParquetSink(target), some_records(3))
    pq.write_table(change(pq.read_table(target)), target)

    with pytest.raises(TargetError, match=f"than an export: {difference}. Move it away, or "):
        ParquetSink(target).open()


def test_a_folder_has_parts(folder):
    """Each part has the given number of records, the last part has the rest, and none is empty."""
    sink = ParquetFolderSink(folder, rows_per_part=40)
    publish(sink, some_records(120))

    parts = ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert list_names(folder) == parts
    assert [pq.read_metadata(folder / part).num_rows for part in parts] == [40, 40, 40]
    assert read_stored(sink) == some_records(120)

    publish(sink, some_records(41))
    assert [pq.read_metadata(folder / part).num_rows for part in list_names(folder)] == [40, 1]
    assert list_names(folder.parent) == ["out", "out.manifest.json"]


def test_the_checksum_of_a_folder_can_be_made_by_hand(folder):
    """The checksum of a folder is that of the text that ``sha256sum`` prints for its parts."""
    manifest = publish(ParquetFolderSink(folder, rows_per_part=10), some_records(25))

    line = "sha256sum part-* | sha256sum"
    output = subprocess.run(line, shell=True, cwd=folder, capture_output=True, check=True).stdout  # noqa: S602 - it is the claim
    assert f"sha256:{output.split()[0].decode()}" == manifest.checksum


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "part-00001.parquet").unlink(),
        lambda folder: (folder / "part-00002.parquet").write_bytes(b""),
        lambda folder: (folder / "part-00001.parquet").rename(folder / "part-00003.parquet"),
    ],
    ids=["less", "more", "another name"],
)
def test_other_parts_are_another_folder(folder, change):
    """An added, missing or renamed part is reported as a changed target."""
    sink = ParquetFolderSink(folder, rows_per_part=10)
    publish(sink, some_records(20))
    change(folder)

    with pytest.raises(TargetError, match="was changed after the last export"):
        sink.verify(sink.manifest())


@pytest.mark.parametrize("stranger", ["notes.txt", "part-1.parquet", "part-000001.parquet", "sub/"])
@pytest.mark.parametrize("where", ["out", "out.new"])
def test_a_folder_with_other_files_is_refused(folder, stranger, where):
    """A folder that contains anything except parts is reported, and all its files are kept."""
    sink = ParquetFolderSink(folder)
    publish(sink, some_records(5))
    path = folder.with_name(where) / stranger
    path.parent.mkdir(exist_ok=True)
    if stranger == "sub/":
        path.mkdir()
    else:
        path.write_bytes(b"mine")

    with pytest.raises(TargetError, match=f"{where} contains {path.name}, which is not from"):
        sink.open()
    assert path.exists()
    assert (folder / "part-00000.parquet").exists()


def test_a_file_that_is_added_during_the_export_stays(folder):
    """A file that another program puts into the folder during the export is not deleted."""
    sink = ParquetFolderSink(folder)
    publish(sink, some_records(5))
    with closing(sink):
        sink.open()
        (folder / "notes.txt").write_bytes(b"mine")

        with pytest.raises(TargetError, match=r"contains notes\.txt"):
            publish(sink, some_records(9))
    assert (folder / "notes.txt").read_bytes() == b"mine"
    assert list_names(folder.parent) == ["out", "out.manifest.json"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a matter of POSIX systems")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    "step, left, count",
    [
        ("rename out", ["out", "out.manifest.json", "out.manifest.json.new", "out.new"], 5),
        ("rename out.new", ["out.manifest.json", "out.manifest.json.new", "out.new", "out.old"], 5),
        ("rmdir out.old", ["out", "out.manifest.json", "out.manifest.json.new", "out.old"], 9),
        ("replace out.manifest.json.new", ["out", "out.manifest.json", "out.manifest.json.new"], 9),
    ],
)
def test_a_kill_between_two_names(folder, step, left, count):
    """After a kill during the swap, the next export finds the complete old or new folder."""
    publish(ParquetFolderSink(folder), some_records(5), runs=5)
    if (child := os.fork()) == 0:
        try:
            die_at(*step.split())
            publish(ParquetFolderSink(folder), some_records(9), runs=9)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 9 << 8
    assert list_names(folder.parent) == sorted([*left, "out.cekat.lock"])

    sink = ParquetFolderSink(folder)
    with closing(sink):
        sink.open()
    assert list_names(folder.parent) == ["out", "out.manifest.json"]
    assert sink.manifest().runs == count
    assert read_stored(sink) == some_records(count)


def die_at(function, name):
    """End this process when the given function of ``os`` is called for the given name."""
    original = getattr(os, function)

    def call(path, *args, **options):
        if Path(path).name == name:
            os._exit(9)
        return original(path, *args, **options)

    setattr(os, function, call)


def test_the_old_folder_is_restored_if_the_swap_fails(folder, monkeypatch):
    """If the second rename fails, the first one is undone."""
    sink = ParquetFolderSink(folder)
    publish(sink, some_records(5))
    rename = os.rename

    def refused(path, *args):
        if os.fspath(path).endswith(".new"):
            raise PermissionError(13, "refused", os.fspath(path))
        return rename(path, *args)

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(TargetError, match="refused"):
        publish(sink, some_records(9))
    monkeypatch.undo()

    assert list_names(folder.parent) == ["out", "out.manifest.json"]
    assert sink.manifest() is not None
    assert read_stored(sink) == some_records(5)


@pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
def test_a_folder_keeps_its_rights(folder):
    """The new folder and its parts keep the modes of the old ones."""
    sink = ParquetFolderSink(folder)
    publish(sink, some_records(5))
    folder.chmod(0o750)
    (folder / "part-00000.parquet").chmod(0o640)
    publish(sink, some_records(9))

    assert folder.stat().st_mode & 0o777 == 0o750
    assert (folder / "part-00000.parquet").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
def test_a_link_to_a_folder_stays_a_link(folder, tmp_path):
    """If the target is a symbolic link, the folder to which the link points is replaced.

    The checkpoint is next to that folder.
    """
    real = tmp_path / "elsewhere" / "real"
    real.mkdir(parents=True)
    folder.symlink_to(real)
    sink = ParquetFolderSink(folder)
    publish(sink, some_records(5))

    assert folder.is_symlink()
    assert list_names(real) == ["part-00000.parquet"]
    assert sink.checkpoint == real.with_name("real.checkpoint")
    assert sink.target == str(folder)


@pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
@pytest.mark.parametrize(
    "name, where", [("out.new", "elsewhere"), ("out.old", "elsewhere"), ("out.old", "out.old")]
)
def test_other_things_next_to_the_folder_stay(folder, tmp_path, name, where):
    """A link or a backup that has the name of the new or old folder is reported and not deleted."""
    publish(ParquetFolderSink(folder), some_records(5))
    (tmp_path / where).mkdir()
    (tmp_path / where / "part-00000.parquet").write_bytes(b"mine")
    if where == "elsewhere":
        folder.with_name(name).symlink_to(tmp_path / where)

    with pytest.raises(TargetError, match=rf"{name}: it is (a symbolic link|in the way)"):
        ParquetFolderSink(folder).open()
    assert (tmp_path / where / "part-00000.parquet").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_refused(folder, monkeypatch):
    """A folder whose parts cannot be deleted is reported before the first request."""
    publish(ParquetFolderSink(folder), some_records(5))
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with pytest.raises(TargetError, match="Permission denied"):
        ParquetFolderSink(folder).open()


@pytest.mark.parametrize("name", ["no/such", "file/out", "file"])
def test_a_place_for_no_folder_is_refused(tmp_path, name):
    """A target that is a file, or in a missing folder, is reported before the first request."""
    (tmp_path / "file").write_bytes(b"mine")

    with pytest.raises(TargetError, match=r"there is no folder|Not a directory"):
        ParquetFolderSink(tmp_path / name).open()


@pytest.mark.parametrize("path", [".", "..", "/", "a/.."])
def test_a_folder_needs_a_name(path):
    """A folder that cannot be renamed is reported."""
    with pytest.raises(TargetError, match="has no file name"):
        ParquetFolderSink(path)


def test_a_part_has_a_record(folder):
    """A part size of 0 records raises an error."""
    with pytest.raises(ConfigurationError, match="rows_per_part must be at least 1, not 0"):
        ParquetFolderSink(folder, rows_per_part=0)


def test_pandas_is_not_imported_for_it():
    """Writing and reading Parquet does not import pandas."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from tempfile import TemporaryDirectory\n"
        "from support.sinks import publish, some_records\n"
        "from cekat_async.export.sinks.files.parquet import ParquetSink\n"
        "with TemporaryDirectory() as folder:\n"
        "    sink = ParquetSink(f'{folder}/out')\n"
        "    publish(sink, some_records(5))\n"
        "    assert list(sink.stored())\n"
        "assert 'pyarrow' in sys.modules and 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
