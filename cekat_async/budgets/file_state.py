"""The newest rate and the pause of a budget in a SQLite file. Its functions block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async import LearnedRate

if TYPE_CHECKING:
    import sqlite3

__all__ = ["FileState"]

# The state has its own table, so that version 0.1 of this package can still use the file.
_CREATE = """
CREATE TABLE IF NOT EXISTS shared_state (
    name TEXT PRIMARY KEY, requests INTEGER, per REAL, learned_at INTEGER, paused_until INTEGER,
    written_at INTEGER NOT NULL
)
"""
_RECORD_RATE = """
INSERT INTO shared_state (name, requests, per, learned_at, written_at)
VALUES (:name, :requests, :per, :learned_at, :now)
ON CONFLICT (name) DO UPDATE SET
    requests = excluded.requests, per = excluded.per, learned_at = excluded.learned_at,
    written_at = excluded.written_at
WHERE learned_at IS NULL OR learned_at <= excluded.learned_at
"""
_EXTEND_PAUSE = """
INSERT INTO shared_state (name, paused_until, written_at) VALUES (:name, :until, :now)
ON CONFLICT (name) DO UPDATE SET
    paused_until = max(coalesce(paused_until, 0), excluded.paused_until),
    written_at = excluded.written_at
"""


class FileState:
    """The rate that was learned last, and the end of a pause, in an open and locked file."""

    def __init__(self, opened: sqlite3.Connection, name: str, now: int) -> None:
        self._opened, self._name, self._now = opened, name, now
        opened.execute(_CREATE)
        # The monotonic clock restarts with the machine. After that, the age of the state is
        # unknown.
        opened.execute("DELETE FROM shared_state WHERE written_at > ?", (now,))

    def record_rate(self, rate: LearnedRate | None) -> None:
        """Store a rate, unless it is ``None`` or a more recent rate is stored already."""
        if rate is None:
            return
        learned_at = self._now - round(1000 * rate.age)
        values = {"requests": rate.requests, "per": rate.per, "learned_at": learned_at}
        self._opened.execute(_RECORD_RATE, {"name": self._name, "now": self._now, **values})

    def extend_pause(self, until: int) -> None:
        """Extend the pause until a time, unless it already ends later."""
        values = {"name": self._name, "until": until, "now": self._now}
        self._opened.execute(_EXTEND_PAUSE, values)

    def get_rate(self) -> LearnedRate | None:
        """Return the rate that was learned last."""
        query = "SELECT requests, per, learned_at FROM shared_state WHERE name = ?"
        found = self._opened.execute(query, (self._name,)).fetchone()
        if found is None or found[0] is None:
            return None
        requests, per, learned_at = found
        return LearnedRate(requests, per, (self._now - learned_at) / 1000)

    def get_pause(self) -> int:
        """Return the remaining length of the pause in milliseconds."""
        query = "SELECT paused_until FROM shared_state WHERE name = ?"
        (until,) = self._opened.execute(query, (self._name,)).fetchone() or (None,)
        return max(0, (until or 0) - self._now)
