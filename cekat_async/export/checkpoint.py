"""The checkpoint of an unfinished export: a durable file of its records and resume positions."""

from __future__ import annotations

import math
import sqlite3
import time
from contextlib import ExitStack, closing
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from cekat_async import Position, __version__
from cekat_async.export.checkpoint_file import CheckpointFile
from cekat_async.export.manifest import Counts, Filters, Partition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Checkpoint", "FetchedPage", "Job", "RecordKey", "count_conversations"]

_SCHEMA = """
CREATE TABLE job (job BLOB NOT NULL, totals BLOB NOT NULL);
CREATE TABLE partitions (
    inbox_id TEXT PRIMARY KEY, position BLOB NOT NULL,
    pages INTEGER NOT NULL DEFAULT 0, records INTEGER NOT NULL DEFAULT 0, error TEXT
) WITHOUT ROWID;
CREATE TABLE pages (seq INTEGER PRIMARY KEY, lines BLOB NOT NULL);
CREATE TABLE names (seq INTEGER PRIMARY KEY, name NOT NULL);
"""
# ``GROUP BY`` is faster than a window function over all names.
_FIND_REPLACED = """
CREATE TEMP TABLE replaced AS SELECT value AS seq FROM (
    SELECT json_group_array(seq) AS versions, max(seq) AS latest
    FROM names GROUP BY name HAVING count(*) > 1
), json_each(versions) WHERE value < latest
"""
RecordKey: TypeAlias = str | bytes
"""The key of a record: its id, or all its bytes if it has no readable id."""
# The number of SQLite's internal steps between two checks. These steps take some milliseconds.
_STEPS_BETWEEN_LOOKS = 100_000
# SQLite before version 3.32 allows at most 999 values in a statement. Each name needs two values.
_NAMES_AT_ONCE = 400
_NONE = (math.inf,)  # sorts after every index
_ALL = ""  # stands for the listing of all conversations, in place of an inbox id


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The export that a checkpoint belongs to.

    Attributes:
        account: The name of the account to show to people: the name that the caller gave, or the
            fingerprint of the key.
        key_fingerprint: The fingerprint of the key of the latest run; ``None`` in a checkpoint of
            version 0.1.
        business_id: The business of the account: see :class:`Manifest`.
        target: The name of the target.
        filters: The filters of the export.
        adds_to: The time at which the earlier export began, if this export is incremental and adds
            to it. ``None`` for a full export.
        began: The time at which the export began.
        version: The version of the package that began the export.
    """

    account: str
    key_fingerprint: str | None = None
    business_id: str | None = None
    target: str
    filters: Filters
    adds_to: datetime | None = None
    began: datetime
    version: str = __version__


class _StoredCounts(Counts, frozen=True, kw_only=True):
    """Counts that are stored under the keys that version 0.1 introduced."""

    fetched: int = msgspec.field(name="records", default=0)


class FetchedPage(NamedTuple):
    """A page to store: its records, their keys, and the resume position after the page."""

    inbox_id: str | None
    json_lines: bytes
    keys: list[RecordKey]
    position: Position


class Checkpoint:
    """A file that keeps the records of an unfinished export. All methods of the class block.

    Records and positions are stored together or not at all, even if the machine loses power.

    Args:
        path: The file; ``None`` for a temporary file, from which no other run can resume.

    Raises:
        ConfigurationError: No file can have the name in ``path``.
        TargetError: There is no folder for temporary files.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = CheckpointFile(path)
        self.path = self._file.path
        self._has_pages = True
        self._seq = 0
        # Closes cursors. An exception may keep an open cursor alive, which locks the file.
        self._cursors = ExitStack()

    def open(self, *, restart: bool = False) -> Job | None:
        """Lock the file, and return the export that it contains, or ``None`` for a new file.

        Args:
            restart: Empty the file first.

        Raises:
            TargetBusyError: Another export has the file open.
            TargetError: The file cannot be written.
            CheckpointError: The file is damaged, or a newer version of this package wrote it.
        """
        if not self._file.open(restart=restart):
            self._has_pages, self._seq = False, 0
            return None
        with self._file.reading():
            get_value = self._file.get_value
            self._seq = get_value("SELECT coalesce(max(seq), -1) FROM names") + 1
            self._has_pages = bool(get_value("SELECT total(pages) FROM partitions"))
            return msgspec.json.decode(get_value("SELECT job FROM job"), type=Job)

    def begin(self, job: Job, positions: dict[str | None, Position]) -> None:
        """Store a new export, with the positions at which its walks start."""
        with self._file.writing() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            self._file.mark()
            database.execute(
                "INSERT INTO job VALUES (?, ?)",
                (msgspec.json.encode(job), msgspec.json.encode(_StoredCounts())),
            )
            database.executemany(
                "INSERT INTO partitions (inbox_id, position) VALUES (?, ?)",
                [(key or _ALL, value.to_bytes()) for key, value in positions.items()],
            )

    def put_job(self, job: Job) -> None:
        """Replace the job, for example when the export resumes with a new key."""
        with self._file.writing() as database:
            database.execute("UPDATE job SET job = ?", (msgspec.json.encode(job),))

    def counts(self) -> Counts:
        """Return the counts of all runs of the export together."""
        with self._file.reading():
            text = self._file.get_value("SELECT totals FROM job")
            stored = msgspec.json.decode(text, type=_StoredCounts)
        return Counts(**msgspec.structs.asdict(stored))

    def put_counts(self, counts: Counts) -> None:
        """Store the counts of all runs of the export together."""
        with self._file.writing() as database:
            _put_counts(database, counts)

    def partitions(self) -> dict[str | None, Partition]:
        """Return the partitions of the export, with their resume positions."""
        with self._file.reading() as database:
            rows = database.execute(
                "SELECT inbox_id, position, pages, records, error FROM partitions"
            )
            return {
                inbox_id or None: Partition(
                    inbox_id=inbox_id or None,
                    position=Position.from_bytes(position),
                    pages=pages,
                    records=records,
                    error=error,
                )
                for inbox_id, position, pages, records, error in rows
            }

    def put_errors(self, errors: Mapping[str | None, str]) -> None:
        """Store the permanent errors of some inboxes, and remove those of all other partitions."""
        rows = [(error, inbox_id or _ALL) for inbox_id, error in errors.items()]
        with self._file.writing() as database:
            database.execute("UPDATE partitions SET error = NULL")
            database.executemany("UPDATE partitions SET error = ? WHERE inbox_id = ?", rows)

    def add_pages(self, pages: Sequence[FetchedPage], counts: Counts) -> None:
        """Store pages durably, together with the resume positions after them and the new counts."""
        seq = self._seq
        with self._file.writing() as database:
            for page in pages:
                _add_page(database, page, seq)
                seq += len(page.keys)
            _put_counts(database, counts)
        self._seq = seq
        self._has_pages |= bool(pages)

    def find_repeats(self) -> int:
        """Find all records that have a later version in the checkpoint, and return their number."""
        with self._file.reading() as database:
            get_value = self._file.get_value
            stored = get_value("SELECT coalesce(sum(records), 0) FROM partitions")
            if not self._seq == stored == get_value("SELECT count(*) FROM names"):
                raise sqlite3.DatabaseError("records are missing")
            database.execute("DROP TABLE IF EXISTS temp.replaced")
            self._file.sort(_FIND_REPLACED)
            return int(get_value("SELECT count(*) FROM temp.replaced"))

    def latest(self) -> Iterator[list[bytes]]:
        """Yield the latest version of each record, page by page, in their order of arrival.

        Call :meth:`find_repeats` first.
        """
        with self._file.reading():
            replaced = self._select("SELECT seq FROM temp.replaced ORDER BY seq")
            pages = self._select("SELECT seq, lines FROM pages ORDER BY seq")
            (skipped,), end = next(replaced, _NONE), 0
            for seq, lines in pages:
                if seq != end:
                    raise sqlite3.DatabaseError("a page is missing")
                records = lines.split(b"\n")
                end = seq + len(records)
                skip = set[int]()
                while skipped < end:
                    skip.add(skipped - seq)
                    (skipped,) = next(replaced, _NONE)
                if kept := _without(records, skip):
                    yield kept
            if end != self._seq:
                raise sqlite3.DatabaseError("a page is missing")

    def _select(self, statement: str) -> sqlite3.Cursor:
        """Return the rows of a statement, which can be read until the checkpoint closes."""
        with self._file.reading() as database:
            return self._cursors.enter_context(closing(database.execute(statement)))

    def index_keys(self) -> None:
        """Build an index that makes :meth:`known` fast."""
        with self._file.reading():
            self._file.sort("CREATE INDEX IF NOT EXISTS by_name ON names (name)")

    def known(self, keys: Collection[RecordKey]) -> set[RecordKey]:
        """Return the given keys for which the checkpoint has a record."""
        marks = ",".join("?" * len(keys))
        with self._file.reading() as database:
            rows = database.execute(
                f"SELECT DISTINCT name FROM names WHERE name IN ({marks})",  # noqa: S608 - marks
                [*keys],
            )
            return {key for (key,) in rows}

    def interrupt(self) -> None:
        """End the running statement with ``Stopped``. Another thread may call this method."""
        self._file.interrupt()

    def close(self, *, done: bool = False) -> None:
        """Close the file. Remove it if the export is done, or if the file contains no page yet."""
        self._cursors.close()
        # A checkpoint without pages would only block later exports, such as one with another key.
        self._file.close(remove=done or not self._has_pages)


def _without(records: list[bytes], skip: set[int]) -> list[bytes]:
    """Return all records except those at the given indexes."""
    if not skip:
        return records
    return [record for place, record in enumerate(records) if place not in skip]


def _add_page(database: sqlite3.Connection, page: FetchedPage, seq: int) -> None:
    if page.keys:
        lines = page.json_lines.removesuffix(b"\n")
        database.execute("INSERT INTO pages VALUES (?, ?)", (seq, lines))
        for begin in range(0, len(page.keys), _NAMES_AT_ONCE):
            _add_names(database, page.keys[begin : begin + _NAMES_AT_ONCE], seq + begin)
    database.execute(
        "UPDATE partitions SET position = ?, pages = pages + 1, records = records + ? "
        "WHERE inbox_id = ?",
        (page.position.to_bytes(), len(page.keys), page.inbox_id or _ALL),
    )


def _add_names(database: sqlite3.Connection, keys: Sequence[RecordKey], seq: int) -> None:
    # A single statement takes half the time of one statement per key.
    rows = ", ".join(["(?, ?)"] * len(keys))
    values = [value for row in enumerate(keys, seq) for value in row]
    database.execute(f"INSERT INTO names VALUES {rows}", values)  # noqa: S608 - marks


def _put_counts(database: sqlite3.Connection, counts: Counts) -> None:
    stored = _StoredCounts(**msgspec.structs.asdict(counts))
    database.execute("UPDATE job SET totals = ?", (msgspec.json.encode(stored),))


def count_conversations(path: Path, *, patience: float = 5.0) -> int | None:
    """Return how many different conversations are in a closed checkpoint.

    Return ``None`` if the file cannot be read, or if counting takes longer than ``patience``.
    Counting a million conversations takes about two seconds.

    Args:
        path: The checkpoint.
        patience: The maximum time for counting, in seconds.
    """
    end = time.monotonic() + patience
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            # A result other than 0 ends the query.
            database.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
            # Sorting is several times as fast as count(DISTINCT name).
            query = "SELECT count(*) FROM (SELECT 1 FROM names GROUP BY name)"
            return int(database.execute(query).fetchone()[0])
    except sqlite3.Error:
        return None
