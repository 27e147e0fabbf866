"""What an export has so far: its records and where its walks stand, in one durable file."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from cekat_async import (
    CheckpointError,
    Position,
    TargetBusyError,
    TargetError,
    __version__,
)
from cekat_async.export.file_sink import CHECKPOINT, OWNER_ALONE
from cekat_async.export.manifest import Filters
from cekat_async.export.names import require_name

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence

__all__ = ["Checkpoint", "Fetched", "Job", "Stand", "Totals", "count_conversations"]

FORMAT = 1
_APPLICATION = 0x43454B41  # "CEKA": so that no other program's file is taken for a checkpoint
_SCHEMA = """
CREATE TABLE job (job BLOB NOT NULL, totals BLOB NOT NULL);
CREATE TABLE partitions (
    inbox_id TEXT PRIMARY KEY, position BLOB NOT NULL,
    pages INTEGER NOT NULL DEFAULT 0, records INTEGER NOT NULL DEFAULT 0, error TEXT
) WITHOUT ROWID;
CREATE TABLE pages (seq INTEGER PRIMARY KEY, lines BLOB NOT NULL);
CREATE TABLE names (seq INTEGER PRIMARY KEY, name NOT NULL);
"""
# What a record comes to be called whose id cannot be read: itself.
Name: TypeAlias = str | bytes
# SQLite's own steps: this many take some milliseconds.
_STEPS_BETWEEN_LOOKS = 100_000
_ALL = ""  # the listing of all conversations, among inbox ids


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Which export a checkpoint is of.

    Attributes:
        account: Which account, for a person: a name that was given, or the fingerprint of its key.
        key_fingerprint: The fingerprint of the key of the latest run; ``None`` in a checkpoint of
            version 0.1.
        business_id: The business of the account: see :class:`Manifest`.
        target: Where to.
        filters: Which of its conversations.
        adds_to: When the export began that this one adds to; ``None`` if it is a whole one.
        began: When it began.
        version: The version of the package that began it.
    """

    account: str
    key_fingerprint: str | None = None
    business_id: str | None = None
    target: str
    filters: Filters
    adds_to: datetime | None = None
    began: datetime
    version: str = __version__


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What all runs of an export have come to, up to what is in the checkpoint."""

    runs: int = 0
    pages: int = 0
    records: int = 0
    malformed_records: int = 0
    unknown_fields: dict[str, int] = {}
    mistyped_fields: dict[str, int] = {}
    requests: int = 0
    retries: int = 0
    refused: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class Fetched(NamedTuple):
    """A page to be kept: its records, what each is called, and where its walk stands behind it."""

    inbox_id: str | None
    lines: list[bytes]
    names: list[Name]
    position: Position


class Stand(NamedTuple):
    """Where the walk of one listing stands, and what it has brought."""

    position: Position
    pages: int
    records: int
    error: str | None


class Checkpoint:
    """A file that holds an export until it is whole. All its methods block.

    It is a SQLite database for one process at a time: records and positions are in it together, or
    not at all, whatever happens to the machine.

    Args:
        path: The file; ``None`` for a temporary one, from which nobody can go on.

    Raises:
        ConfigurationError: No file can have this name.
        TargetError: There is no folder for temporary files.
    """

    def __init__(self, path: Path | None) -> None:
        self._folder = None if path else _temporary_folder()
        if path is not None:
            require_name(str(path))
        self.path = path or Path(str(self._folder)) / "checkpoint"
        self._database: sqlite3.Connection | None = None
        self._is_blank = False
        self._seq = 0

    def open(self, *, restart: bool = False) -> Job | None:
        """Lock the file, and return the export that it is of; None if it is a new one.

        Args:
            restart: Empty it first, whatever is in it.

        Raises:
            TargetBusyError: Another export has it.
            TargetError: It cannot be written.
            CheckpointError: It is broken, or of a newer version.
        """
        found = self._open(restart=restart)
        if self._folder is not None and os.name == "posix":
            self._hide()
        return found

    def _open(self, *, restart: bool) -> Job | None:
        with self._reporting_malformed():
            if not (folder := self.path.parent).is_dir():
                why = f"there is no folder {folder}"
                raise FileNotFoundError(errno.ENOENT, why, str(self.path))
            _create(self.path)
            if not restart and not os.access(self.path, os.W_OK):
                # SQLite would open it all the same, to read, and lock it for nobody.
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        try:
            with self._reporting_malformed():
                if self._database is None:
                    self._connect()
                if not restart:
                    return self._found()
        except CheckpointError:
            if not restart:
                raise
        self._empty()
        return None

    def begin(self, job: Job, positions: dict[str | None, Position]) -> None:
        """Make it the checkpoint of an export that begins."""
        with self._written() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {FORMAT}")
            database.execute(
                "INSERT INTO job VALUES (?, ?)",
                (msgspec.json.encode(job), msgspec.json.encode(Totals())),
            )
            database.executemany(
                "INSERT INTO partitions (inbox_id, position) VALUES (?, ?)",
                [(key or _ALL, value.to_bytes()) for key, value in positions.items()],
            )

    def put_job(self, job: Job) -> None:
        """Replace the job, for instance when the export resumes under a new key."""
        with self._written() as database:
            database.execute("UPDATE job SET job = ?", (msgspec.json.encode(job),))

    def totals(self) -> Totals:
        """Return what all runs have come to."""
        with self._reporting_malformed():
            return msgspec.json.decode(self._value("SELECT totals FROM job"), type=Totals)

    def stands(self) -> dict[str | None, Stand]:
        """Return where each walk stands."""
        with self._reporting_malformed():
            rows = self._opened().execute(
                "SELECT inbox_id, position, pages, records, error FROM partitions"
            )
            return {
                inbox_id or None: Stand(Position.from_bytes(position), *rest)
                for inbox_id, position, *rest in rows
            }

    def keep(self, pages: Sequence[Fetched], totals: Totals) -> None:
        """Add pages, and let the walks stand behind them, durably."""
        with self._written() as database:
            for page in pages:
                self._add(database, page)
            self._put_totals(database, totals)
        if pages:
            self._is_blank = False

    def fail(self, inbox_id: str | None, error: str | None) -> None:
        """Note what a walk has failed with for good, or that it has not."""
        with self._written() as database:
            database.execute(
                "UPDATE partitions SET error = ? WHERE inbox_id = ?", (error, inbox_id or _ALL)
            )

    def put_totals(self, totals: Totals) -> None:
        """Note what all runs have come to."""
        with self._written() as database:
            self._put_totals(database, totals)

    def settle(self) -> int:
        """Find out which records came last, and return how many others there are."""
        with self._reporting_malformed():
            database = self._opened()
            kept = self._value("SELECT coalesce(sum(records), 0) FROM partitions")
            if not self._seq == kept == self._value("SELECT count(*) FROM names"):
                raise sqlite3.DatabaseError("records are missing")
            database.execute("DROP TABLE IF EXISTS temp.replaced")
            # Sorted by SQLite, which takes a file for it where memory does not suffice.
            database.execute(
                "CREATE TEMP TABLE replaced AS SELECT seq FROM (SELECT seq, lead(seq) OVER "
                "(PARTITION BY name ORDER BY seq) AS later FROM names) WHERE later IS NOT NULL"
            )
            return int(self._value("SELECT count(*) FROM temp.replaced"))

    def latest(self) -> Iterator[list[bytes]]:
        """Return the records that came last, page by page, in the order they came in."""
        with self._reporting_malformed():
            database = self._opened()
            replaced = _numbers(database.execute("SELECT seq FROM temp.replaced ORDER BY seq"))
            skipped, end = next(replaced, -1), 0
            for seq, lines in database.execute("SELECT seq, lines FROM pages ORDER BY seq"):
                if seq != end:
                    raise sqlite3.DatabaseError("a page is missing")
                records = lines.split(b"\n")
                end = seq + len(records)
                if not seq <= skipped < end:
                    yield records
                    continue
                skip = {skipped - seq}
                while (skipped := next(replaced, -1)) != -1 and skipped < end:
                    skip.add(skipped - seq)
                if kept := [line for index, line in enumerate(records) if index not in skip]:
                    yield kept
            if end != self._seq:
                raise sqlite3.DatabaseError("a page is missing")

    def index_names(self) -> None:
        """Make ready for :meth:`known`."""
        with self._written() as database:
            database.execute("CREATE INDEX IF NOT EXISTS by_name ON names (name)")

    def known(self, names: Sequence[Name]) -> set[Name]:
        """Return those of some names that have come."""
        marks = ",".join("?" * len(names))
        with self._reporting_malformed():
            rows = self._opened().execute(
                f"SELECT DISTINCT name FROM names WHERE name IN ({marks})",  # noqa: S608 - marks
                names,
            )
            return {name for (name,) in rows}

    def has_any(self, names: Collection[Name]) -> bool:
        """Whether it holds a record with any of these names."""
        return bool(names) and bool(self.known([*names]))

    def close(self, *, done: bool = False) -> None:
        """Let go of the file; if the export is done, or has no page yet, there is none any more."""
        if self._database is not None:
            # One without a page would only be in the way: of a run with the right key, say.
            if done or self._is_blank or self._folder:
                # While it is locked, so that nobody begins with what goes away.
                self._remove()
            self._database.close()
            self._database = None
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            self._folder = None

    def _remove(self) -> None:
        for path in (self.path, *self._companions()):
            with contextlib.suppress(OSError):
                path.unlink()

    def _connect(self) -> None:
        found = self.path.stat()
        self._database = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA synchronous = FULL")
        # So that a lock, once it is taken, stays until the file is closed.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("BEGIN EXCLUSIVE")
        self._database.execute("COMMIT")
        if not self.path.exists() or not os.path.samestat(found, self.path.stat()):
            # What is locked has no name any more: another could make a new file beside it.
            raise TargetBusyError(
                f"another export has just finished with {self.path}: run this one again"
            )

    def _found(self) -> Job | None:
        if not self._value("SELECT count(*) FROM sqlite_master"):
            self._is_blank = True
            self._keep_journal()
            return None
        if self._value("PRAGMA application_id") != _APPLICATION:
            raise CheckpointError(f"{self.path} is no checkpoint of an export: move it away")
        if (version := self._value("PRAGMA user_version")) != FORMAT:
            raise CheckpointError(
                f"{self.path} is of another version of cekat_async (format {version}, this one "
                f"writes {FORMAT}): go on with that version, or begin anew with restart=True"
            )
        self._keep_journal()
        self._seq = self._value("SELECT coalesce(max(seq), -1) FROM names") + 1
        self._is_blank = not self._value("SELECT total(pages) FROM partitions")
        return msgspec.json.decode(self._value("SELECT job FROM job"), type=Job)

    def _empty(self) -> None:
        """Begin a new file in the place of one that nobody else has."""
        is_ours = self.path.name.endswith(CHECKPOINT) or self._folder or self._is_known()
        if self._database is not None:
            self._database.close()
        if not is_ours:
            raise CheckpointError(
                f"{self.path} is no checkpoint of an export, and is not removed: move it away, or "
                "name another file"
            )
        with self._reporting_malformed():
            self._remove()
            _create(self.path)
            self._connect()
            self._keep_journal()
        self._is_blank, self._seq = True, 0

    def _hide(self) -> None:
        """Take a temporary file's name away: so it is gone with the process, however that ends."""
        with self._reporting_malformed():
            self._opened().execute("PRAGMA journal_mode = MEMORY")
            self._remove()
        if self._folder is not None:
            self._folder.rmdir()
            self._folder = None

    def _is_known(self) -> bool:
        """Whether it is a checkpoint, of whatever version, or has nothing in it."""
        with contextlib.suppress(sqlite3.Error, TargetError):
            if not self._value("SELECT count(*) FROM sqlite_master"):
                return True
            return bool(self._value("PRAGMA application_id") == _APPLICATION)
        return False

    def _keep_journal(self) -> None:
        """Let the journal stay from one write to the next."""
        # Only in a file of ours: this one setting is written down in another program's database.
        self._opened().execute("PRAGMA journal_mode = TRUNCATE")

    def _companions(self) -> Iterable[Path]:
        return (self.path.with_name(f"{self.path.name}{end}") for end in ("-journal", "-wal"))

    def _add(self, database: sqlite3.Connection, page: Fetched) -> None:
        if page.lines:
            database.execute("INSERT INTO pages VALUES (?, ?)", (self._seq, b"\n".join(page.lines)))
            database.executemany(
                "INSERT INTO names VALUES (?, ?)", enumerate(page.names, self._seq)
            )
        self._seq += len(page.lines)
        database.execute(
            "UPDATE partitions SET position = ?, pages = pages + 1, records = records + ? "
            "WHERE inbox_id = ?",
            (page.position.to_bytes(), len(page.lines), page.inbox_id or _ALL),
        )

    @staticmethod
    def _put_totals(database: sqlite3.Connection, totals: Totals) -> None:
        database.execute("UPDATE job SET totals = ?", (msgspec.json.encode(totals),))

    def _value(self, query: str) -> Any:
        row = self._opened().execute(query).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("a row is missing")
        return row[0]

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise TargetError(f"the checkpoint {self.path} is not open")
        return self._database

    @contextlib.contextmanager
    def _written(self) -> Generator[sqlite3.Connection, None, None]:
        """Let all that is written meanwhile be there, or nothing."""
        before = self._seq
        with self._reporting_malformed():
            database = self._opened()
            database.execute("BEGIN")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                self._seq = before
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reporting_malformed(self) -> Generator[None, None, None]:
        """Tell of what goes wrong with the file as the package's own errors."""
        try:
            yield
        except OSError as error:
            where = error.filename or self.path
            raise TargetError(f"cannot write {where}: {error.strerror or error}") from error
        except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
            raise self._of_operation(error) from error
        except (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._is_broken(error) from error

    def _is_broken(self, error: Exception) -> CheckpointError:
        why = " ".join(str(error).split())  # SQLite cites statements of several lines
        return CheckpointError(
            f"the checkpoint {self.path} is broken ({why}): begin anew with restart=True"
        )

    def _of_operation(self, error: sqlite3.Error) -> TargetError | CheckpointError:
        if "locked" in str(error):
            return TargetBusyError(
                f"another export has the checkpoint {self.path}: run this one again when that one "
                "has ended, or name another file"
            )
        if "no such" in str(error):
            return self._is_broken(error)
        return TargetError(f"cannot write {self.path}: {error}")


def _temporary_folder() -> Path:
    try:
        return Path(mkdtemp(prefix="cekat-export-"))
    except OSError as error:
        raise TargetError(
            f"cannot make a temporary checkpoint ({error.strerror or error}): set TMPDIR to a "
            "folder that can be written, or pass checkpoint=…"
        ) from error


def count_conversations(path: Path, *, patience: float = 5.0) -> int | None:
    """Return how many different conversations a closed checkpoint holds.

    ``None`` if it cannot be read, or if counting takes too long. A million take about two seconds.

    Args:
        path: The checkpoint.
        patience: The most seconds that counting may take.
    """
    end = time.monotonic() + patience
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as (database):
            # A result other than 0 ends the query.
            database.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
            # Sorting is several times as fast as count(DISTINCT name).
            query = "SELECT count(*) FROM (SELECT 1 FROM names GROUP BY name)"
            return int(database.execute(query).fetchone()[0])
    except sqlite3.Error:
        return None


def _create(path: Path) -> None:
    """Make sure that there is a file, for its owner alone."""
    # One that is there is not even opened: to close it again would take its lock from another
    # export of this process.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ALONE))


def _numbers(rows: Iterable[tuple[int]]) -> Iterator[int]:
    return (number for (number,) in rows)
