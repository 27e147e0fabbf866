"""Exports of records of any shape: each record is in the target once, in its last version.

``CEKAT_TEST_EFFORT=100`` tries more records: see CONTRIBUTING.md.
"""

import asyncio
import csv
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.hostile import Sent, make_body, records
from support.parts import make_client

from cekat_async import RetryPolicy
from cekat_async.export import ExportReport, export_conversations
from cekat_async.sandbox import Fault, Sandbox

PAGES = st.lists(st.lists(records(), min_size=1, max_size=4), min_size=1, max_size=3)
KINDS = ["x.jsonl", "x.jsonl.gz", "x.csv", "x.parquet", "x.sqlite", "x.duckdb"]


def bodies(pages: list[list[Sent]]) -> list[bytes]:
    """Return the bodies of a listing's pages, each with a cursor to the next one."""
    cursor = (
        b',"metadata":{"next_cursor":{"cursor_id":"c","cursor_ts":"2026-04-10T09:51:%02d.000"}}'
    )
    return [
        make_body(page, b"" if number == len(pages) else cursor % (60 - number))
        for number, page in enumerate(pages, 1)
    ]


def exported(target: Path, pages: list[list[Sent]], **options) -> ExportReport:
    """Export a listing of a few pages."""

    async def main() -> ExportReport:
        async with (
            Sandbox(0, quota=None) as sandbox,
            make_client(sandbox, retry=RetryPolicy(attempts=1)) as client,
        ):
            first, *others = [Fault.raw(body=body) for body in bodies(pages)]
            # A request for the account's business precedes the first page. If there are several
            # pages, a request for the newest position follows the first page.
            sandbox.fail_next(Fault.ok(), first, *[Fault.ok()] * bool(others), *others)
            return await export_conversations(
                client, target, account="fuzz", concurrency=1, **options
            )

    return asyncio.run(main())


def get_text(line: bytes) -> str:
    return line.decode(errors="replace")


def make_line(sent: Sent) -> bytes:
    return sent.raw.replace(b"\r", b"").replace(b"\n", b"")


def latest(pages: list[list[Sent]]) -> dict[str | bytes, bytes]:
    """Return the last version of each record.

    Records are identified by their ids or their bytes.
    """
    return {one.id or make_line(one): make_line(one) for page in pages for one in page}


def raw_column(target: Path) -> list[str]:
    """Return the column ``raw`` of a table, or the lines of a file."""
    match "".join(target.suffixes):
        case ".jsonl":
            return [get_text(line) for line in target.read_bytes().split(b"\n")[:-1]]
        case ".csv":
            limit = csv.field_size_limit(10**9)
            try:
                with target.open(encoding="utf-8-sig", newline="") as file:
                    return [row["raw"] for row in csv.DictReader(file)]
            finally:
                csv.field_size_limit(limit)
        case ".parquet":
            return pq.read_table(target, columns=["raw"]).column(0).to_pylist()
        case ".sqlite":
            with closing(sqlite3.connect(target)) as opened:
                return [raw for (raw,) in opened.execute("SELECT raw FROM conversations")]
        case ".duckdb":
            with duckdb.connect(str(target), read_only=True) as opened:
                return [
                    raw for (raw,) in opened.execute("SELECT raw FROM conversations").fetchall()
                ]
    raise AssertionError(target)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet", "x.sqlite", "x.duckdb"])
@given(pages=PAGES)
@settings(max_examples=5 * EFFORT)
def test_each_record_is_there_once(name, pages):
    """The target has the last version of each record once, byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / name
        report = exported(target, pages)
        found = raw_column(target)

    wanted = latest(pages)
    assert sorted(found) == sorted(get_text(line) for line in wanted.values())
    assert report.conversations == len(wanted)
    assert report.malformed_records == sum(one.is_malformed for page in pages for one in page)


@pytest.mark.parametrize("name", ["x.jsonl", "x.sqlite"])
@given(first=PAGES, second=PAGES)
@settings(max_examples=5 * EFFORT)
def test_a_second_export_replaces_repeated_records(name, first, second):
    """An export that adds to a target replaces only the records that it fetches again."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / name
        exported(target, first)
        exported(target, second, incremental=True)
        found = raw_column(target)

    wanted = latest(first) | latest(second)
    assert sorted(found) == sorted(get_text(line) for line in wanted.values())
