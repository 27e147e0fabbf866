"""CSV: programs read exactly what was written, and spreadsheets run no formula."""

import csv
import io
from datetime import UTC, datetime

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.malformed_records import HUGE, LOSSLESS, NOT_UTF_8, NUL, record
from support.sinks import publish, some_records

from cekat_async import TargetError
from cekat_async.export.sinks.files.csv import CsvSink, _encode_rows
from cekat_async.frames.columns import COLUMNS, build_row

NASTY = [
    '=HYPERLINK("http://evil.example";"click")',
    "=1+1",
    "+6281234",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\tplain",
    "\r=1",
    "\nplain",
    " =1",
    " \t\n =1",
    "\u00a0=1",
    "\u3000+1",
    "\ufeff=1",
    "\u200b=1",
    "\0=1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    " \uff20SUM(A1)",
]
HARMLESS = ["", "a=1", "1-1", "'=1", "a@example.com", " plain", "(=1)", "#x", "°-1", '"=1"']


def read_rows(target):
    """Read a file with :mod:`csv`, with the field size limit that long records need."""
    limit = csv.field_size_limit(1 << 30)
    try:
        with target.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    finally:
        csv.field_size_limit(limit)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.csv"


def test_the_columns_are_those_of_every_table(target):
    """The file starts with a byte order mark and the column names.

    Without records, the file has no rows.
    """
    publish(CsvSink(target), [])

    names = ",".join(column.name for column in COLUMNS)
    assert target.read_bytes() == f"\ufeff{names}\r\n".encode()


def test_a_program_reads_the_rows(target):
    """Rows have the values of every table: unchanged text, ISO 8601 times, empty cells for null."""
    publish(CsvSink(target, defuse=False), [*some_records(), *LOSSLESS])

    for row, raw in zip(read_rows(target), [*some_records(), *LOSSLESS], strict=True):
        for name, value in zip(row, build_row(raw), strict=True):
            if isinstance(value, datetime):
                assert datetime.fromisoformat(row[name]) == value
            else:
                assert row[name] == (value or "")


@pytest.mark.parametrize(
    "microsecond, text",
    [
        (0, "2026-04-10T05:47:16.000+00:00"),
        (771_000, "2026-04-10T05:47:16.771+00:00"),
        (771_001, "2026-04-10T05:47:16.771001+00:00"),
    ],
)
def test_times_are_as_the_api_writes_them(target, microsecond, text):
    """A time is written with milliseconds, or microseconds if needed, and with its zone."""
    moment = datetime(2026, 4, 10, 5, 47, 16, microsecond, tzinfo=UTC)
    publish(CsvSink(target), [record(created_at=moment)])

    assert read_rows(target)[0]["created_at"] == text


@pytest.mark.parametrize("text", NASTY)
def test_formulas_become_text(target, text):
    """A cell that a spreadsheet might run as a formula gets an apostrophe.

    The raw column is unchanged.
    """
    nasty = record(id=text, contact_name=text, last_message={"message": text}, labels=[])
    publish(CsvSink(target), [nasty])

    row = read_rows(target)[0]
    assert row["id"] == row["contact_name"] == row["last_message"] == "'" + text
    assert row["raw"].encode() == nasty
    assert next(iter(CsvSink(target).stored())) == [nasty]


@pytest.mark.parametrize(
    "text, defuse", [*((t, False) for t in [*NASTY, *HARMLESS]), *((t, True) for t in HARMLESS)]
)
def test_text_that_is_left_alone(target, text, defuse):
    """Text that is no formula is unchanged, and with ``defuse=False`` all text is unchanged."""
    publish(CsvSink(target, defuse=defuse), [record(notes=text)])

    assert read_rows(target)[0]["notes"] == text


@pytest.mark.parametrize("raw", [b"-1", b"'=1", b"''", b"=1", b'"=x"', b"'", b" =1", b"\t1"])
@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("read", [True, False])
def test_raw_is_read_back_exactly(target, raw, written, read):
    """The raw column is read back exactly, even if ``defuse`` has changed since."""
    publish(CsvSink(target, defuse=written), [raw])

    assert list(CsvSink(target, defuse=read).stored()) == [[raw]]
    assert not written or read_rows(target)[0]["raw"][0] not in "-=+@\t "


def test_long_records_change_no_limit(target):
    """A record above the field size limit of :mod:`csv` is read, and the limit is unchanged."""
    limit = csv.field_size_limit()
    publish(CsvSink(target), [HUGE, NUL])

    assert len(HUGE) > limit
    assert list(CsvSink(target).stored()) == [[HUGE, NUL]]
    assert csv.field_size_limit() == limit


def test_bytes_that_are_no_text(target):
    """Invalid UTF-8 becomes a replacement character, so that the whole file can be read."""
    publish(CsvSink(target), [NOT_UTF_8])

    assert read_rows(target)[0]["raw"].encode() == NOT_UTF_8.replace(b"\xe9", b"\xef\xbf\xbd")


@given(st.lists(st.lists(st.text("a,;\"'\r\n\0\ufeff é"), min_size=2, max_size=4), max_size=5))
def test_cells_are_written_as_python_writes_them(rows):
    """For any cells, the sink writes the same bytes as :mod:`csv`."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)

    assert _encode_rows(rows) == text.getvalue().encode()


def test_others_read_it(target):
    """DuckDB and pandas read every record, with its id."""
    records = [*some_records(), HUGE]
    publish(CsvSink(target), records)
    raws = [raw.decode() for raw in records]

    assert pd.read_csv(target, dtype=str)["raw"].tolist() == raws
    query = "select raw from read_csv(?, header=true, all_varchar=true, delim=',', quote='\"')"
    assert [raw for (raw,) in duckdb.execute(query, [str(target)]).fetchall()] == raws


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "its last column is not raw"),
        (b"id,notes\r\n1,2\r\n", "its last column is not raw"),
        (b"id,raw\r\n1\r\n", "a row is cut short"),
        (b'id,raw\r\n1,"2', "a row is cut short"),
        (b'id,raw\r\n1,"2"', "a row is cut short"),
    ],
)
def test_a_file_of_something_else_is_reported(target, content, reason):
    """A file that no export made is reported and not read as records."""
    target.write_bytes(content)

    with pytest.raises(TargetError, match=reason):
        list(CsvSink(target).stored())


def test_a_file_of_other_columns_is_read(target):
    """Records are also read from a file with fewer columns, which an earlier version made."""
    target.write_bytes(b'\xef\xbb\xbfid,"raw"\r\n'.replace(b'"', b"") + b'1,"{""id"":""1""}"\r\n')

    assert list(CsvSink(target).stored()) == [[b'{"id":"1"}']]
