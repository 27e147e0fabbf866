"""A model of the API that lists conversations by activity or in another order."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs

from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from support.parts import make_pipeline
from support.scripted import reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cekat_async._api.replies import Reply
    from cekat_async._api.requests import Request

Key: TypeAlias = "tuple[float, str]"
"""The sort key of a conversation: a number and the conversation's id."""
Pair: TypeAlias = "tuple[str, str]"
"""The two strings of a cursor: id and timestamp."""

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = 60_000
HOUR = 60 * MINUTE


def moment(milli: float) -> datetime:
    """Return the time that is ``milli`` milliseconds after ``EPOCH``."""
    return EPOCH + timedelta(milliseconds=milli)


class Row:
    """A conversation whose times are in milliseconds after ``EPOCH``."""

    def __init__(
        self,
        id_: str,
        active: int,
        created: int,
        message: int | None = None,
        resolved: int | None = None,
    ) -> None:
        self.id, self.active, self.created = id_, active, created
        self.message, self.resolved = message, resolved

    def shown_times(self) -> list[int]:
        """Return the times that the API shows in the record."""
        return [t for t in (self.created, self.message, self.resolved) if t is not None]

    def to_json(self) -> dict[str, object]:
        def show(time: int | None) -> str | None:
            return None if time is None else moment(time).isoformat()

        last = None if self.message is None else {"created_at": show(self.message)}
        return {
            "id": self.id,
            "created_at": show(self.created),
            "last_message": last,
            "resolved_at": show(self.resolved),
        }


class ActivityServer:
    """Answers requests like the API.

    Args:
        rows: The conversations.
        order: The order of the listing: "activity", "ascending", "created", "random" (by unrelated
            numbers), or "shuffled" (in random order, with times of activity in the cursors).
        zone: The number of hours by which the timestamps of cursors are ahead of UTC.
        shows_zone: Whether the timestamps include that offset.
        digits: The number of fractional digits of the seconds in a cursor.
        made_up: How the server treats a cursor that it did not send: "honour", "ignore", "reject",
            "empty" (return an empty page), "by_id" (use only the id), or "later" (add half an hour
            to the timestamp).
        unreadable: Whether cursors have timestamps that no client can parse.
        every: A function that the server calls after each page.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        *,
        order: str = "activity",
        zone: int = 0,
        shows_zone: bool = False,
        digits: int = 3,
        made_up: str = "honour",
        unreadable: bool = False,
        every: Callable[[], object] = lambda: None,
    ) -> None:
        self.rows = {row.id: row for row in rows}
        self.order, self.zone, self.shows_zone, self.digits = order, zone, shows_zone, digits
        self.made_up, self.unreadable, self.every = made_up, unreadable, every
        self.requests: list[Pair | None] = []
        self._issued: dict[Pair, Key] = {}
        self._places: dict[str, int] = {}

    def open(self, **options: Any) -> Conversations:
        """Return the conversations resource of a new client that uses this server."""
        pipeline, _ = make_pipeline(itertools.repeat(self._answer), **options)
        return Conversations(pipeline, Inboxes(pipeline).list)

    def full_walk(self) -> list[Row]:
        """Return all conversations in the order of the listing."""
        return sorted(self.rows.values(), key=self._key, reverse=self.order != "ascending")

    def _key(self, row: Row) -> Key:
        if self.order in {"random", "shuffled"}:
            return self._places.setdefault(row.id, Random(row.id).randrange(10**9)), row.id
        return (row.created if self.order == "created" else row.active), row.id

    def _answer(self, request: Request) -> Reply:
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        cursor = (query["cursor_id"], query["cursor_ts"]) if "cursor_id" in query else None
        self.requests.append(cursor)
        rows, limit = self.full_walk(), int(query["limit"])
        if cursor is not None:
            place = self._read(cursor)
            if place == "reject":
                return reply(400, b'{"success":false,"error":{"message":"no such cursor"}}')
            rows = [row for row in rows if self._is_after(row, place)] if place else []
        page = rows[:limit]
        pair = None
        if len(rows) > limit:
            pair = (page[-1].id, self._spell(page[-1]))
            self._issued[pair] = self._key(page[-1])
        next_cursor = dict(zip(("cursor_id", "cursor_ts"), pair or (None, None), strict=True))
        body = {"data": [row.to_json() for row in page], "metadata": {"next_cursor": next_cursor}}
        answer = reply(200, json.dumps(body).encode())
        self.every()
        return answer

    def _is_after(self, row: Row, place: Key | str) -> bool:
        if isinstance(place, str):  # "front"
            return True
        return self._key(row) > place if self.order == "ascending" else self._key(row) < place

    def _read(self, cursor: Pair) -> Key | str | None:
        if cursor in self._issued:
            return self._issued[cursor]
        if self.made_up in {"honour", "later"} and not self.unreadable:
            local = datetime.fromisoformat(cursor[1])
            if local.tzinfo is None:
                local = local.replace(tzinfo=UTC) - timedelta(hours=self.zone)
            later = HOUR / 2 * (self.made_up == "later")
            return ((local - EPOCH) / timedelta(milliseconds=1) + later, cursor[0])
        if self.made_up == "by_id":
            return self._key(self.rows[cursor[0]])
        return {"ignore": "front", "empty": None}.get(self.made_up, "reject")

    def _spell(self, row: Row) -> str:
        key = self._key(row)
        if self.unreadable:
            return f"place {key[0]}"
        time = row.active if self.order == "shuffled" else key[0]
        local = moment(time) + timedelta(hours=self.zone)
        whole, _, fraction = local.strftime("%Y-%m-%dT%H:%M:%S.%f").partition(".")
        text = f"{whole}.{fraction[: self.digits]}" if self.digits else whole
        return text + (f"{'+' if self.zone >= 0 else '-'}{abs(self.zone):02d}:00" * self.shows_zone)


def make_rows(
    n: int,
    random: Random,
    *,
    days: int = 10,
    lag: int = HOUR,
    ties: int = 1,
    quiet: float = 0.1,
) -> list[Row]:
    """Return conversations with random times of activity in a period of some days.

    Args:
        n: The number of conversations.
        random: The source of random numbers.
        days: The length of that period.
        lag: The longest time from the last message to the last activity, in milliseconds.
        ties: The number of conversations that have the same time of activity.
        quiet: The fraction of conversations without a message.
    """
    rows: list[Row] = []
    active = 0
    for number in range(n):
        if number % ties == 0:
            active = random.randrange(1, days * 24 * HOUR)
        message = None if random.random() < quiet else active - random.randrange(lag + 1)
        created = (active if message is None else message) - random.randrange(1, 30 * HOUR)
        rows.append(Row(f"{random.getrandbits(40):010x}", active, created, message))
    return rows
