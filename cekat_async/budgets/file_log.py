"""The log of a budget in a SQLite file. pyrate-limiter counts the requests. The functions block."""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, cast

from pyrate_limiter import Rate, RateItem, SQLiteBucket, SQLiteQueries

from cekat_async import BudgetAnswer
from cekat_async.budgets.base import KEPT, seconds
from cekat_async.budgets.file_state import FileState

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyrate_limiter import Decision

    from cekat_async import LearnedRate

__all__ = ["FileLog"]


class FileLog:
    """The requests of one budget, which are in one table of a SQLite file."""

    def __init__(self, path: str, name: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        # Encode the name in hexadecimal, because it becomes part of SQL statements.
        self._table = f"budget_{name.encode().hex()}"
        self._name = name
        self._file = 0

    def take(self, requests: int, window: int, learned: LearnedRate | None) -> BudgetAnswer:
        """Take one request. ``window`` is in milliseconds."""
        try:
            with self._lock() as opened:
                file = _get_file_number(opened)
                answer = self._answer(opened, Rate(requests, window), learned)
        except OSError:
            self._file = 0  # this error is enough: do not also report a replaced file
            raise
        before, self._file = self._file, file
        if before not in (0, file):
            raise OSError(f"{self._path} was replaced, so earlier requests are no longer counted")
        return answer

    def pause(self, length: int, learned: LearnedRate | None) -> None:
        """Grant no requests to any process for ``length`` milliseconds."""
        with self._lock() as opened:
            now = _get_time()
            state = FileState(opened, self._name, now)
            state.record_rate(learned)
            state.extend_pause(now + length)

    @contextmanager
    def _lock(self) -> Generator[sqlite3.Connection, None, None]:
        """Open and lock the file. Commit at the end of the block."""
        try:
            # Open the file again for each take. If a process kept a connection to a deleted file,
            # two processes would count in two files.
            with closing(
                sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
            ) as opened:
                # Do not wait for the disk, because the writes survive even if the process is
                # killed.
                opened.execute("PRAGMA synchronous = OFF")
                # pyrate-limiter counts, then writes. Lock the file before it counts, so that no
                # other process writes in between.
                opened.execute("BEGIN IMMEDIATE")
                yield opened
                opened.commit()
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from None

    def _answer(
        self, opened: sqlite3.Connection, rate: Rate, learned: LearnedRate | None
    ) -> BudgetAnswer:
        now = _get_time()
        self._tidy(opened, now, rate.interval)
        state = FileState(opened, self._name, now)
        state.record_rate(learned)
        pause, used = state.get_pause(), self._count(opened, now - rate.interval)
        # Read the rate first, because pyrate-limiter commits when it takes a request.
        newest = state.get_rate()
        wait = pause / 1000 if pause else self._put(opened, rate, now)
        return BudgetAnswer(
            wait=wait, used=used + (not wait), learned=newest, paused_for=pause / 1000
        )

    def _count(self, opened: sqlite3.Connection, start: int) -> int:
        query = f"SELECT COUNT(*) FROM {self._table} WHERE item_timestamp >= ?"  # noqa: S608
        (count,) = opened.execute(query, (start,)).fetchone()
        return int(count)

    def _tidy(self, opened: sqlite3.Connection, now: int, window: int) -> None:
        table = self._table
        index = f"{table}_time"
        opened.execute(SQLiteQueries.CREATE_BUCKET_TABLE.format(table=table))
        opened.execute(
            SQLiteQueries.CREATE_INDEX_ON_TIMESTAMP.format(index_name=index, table_name=table)
        )
        # The monotonic clock restarts with the machine. Without this, times in the future would
        # count for days.
        opened.execute(
            f"UPDATE {table} SET item_timestamp = :now WHERE item_timestamp > :now",  # noqa: S608
            {"now": now},
        )
        opened.execute(
            f"DELETE FROM {table} WHERE item_timestamp < ?",  # noqa: S608 - the name is hexadecimal
            (now - max(window, KEPT),),
        )

    def _put(self, opened: sqlite3.Connection, rate: Rate, now: int) -> float:
        verdict = SQLiteBucket([rate], opened, self._table).put_decision(RateItem("", now))
        decision = cast("Decision", verdict)  # only other kinds of buckets return an awaitable
        return 0.0 if decision.allowed else seconds(decision.retry_after_ms)

    def _failure(self, error: sqlite3.DatabaseError) -> OSError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            return TimeoutError(f"{self._path} was locked for {self._timeout:g} s")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return OSError(f"{self._path} is damaged, or is not a budget ({error}): delete it")
        return OSError(f"{self._path}: {error}")


def _get_time() -> int:
    """Return the machine's monotonic time in milliseconds."""
    return time.monotonic_ns() // 1_000_000


def _get_file_number(opened: sqlite3.Connection) -> int:
    """Return the number that identifies a file. Give a number to a new file."""
    (number,) = opened.execute("PRAGMA user_version").fetchone()
    if not number:
        number = 1 + secrets.randbelow(2**31 - 1)
        opened.execute(f"PRAGMA user_version = {number}")
    return int(number)
