"""A model of a listing, for walks without a network. Its rows can move during a walk."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from datetime import UTC, datetime, timedelta
from itertools import count
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async.errors import BadRequestError
from cekat_async.models import Conversation
from cekat_async.pages import ConversationPage
from cekat_async.positions import Cursor, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cekat_async._parallel.segment import Segment
    from cekat_async._parallel.walk import ParallelWalk

DAY = 86_400_000
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def spelled(milli: int) -> str:
    """Format a time in the format of the API's cursors."""
    moment = (_EPOCH + timedelta(milliseconds=milli)).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds")


def read(timestamp: str) -> int:
    """Convert the timestamp of a cursor to milliseconds."""
    return (datetime.fromisoformat(timestamp).replace(tzinfo=UTC) - _EPOCH) // timedelta(
        milliseconds=1
    )


def make_page(ids: Iterable[str], cursor: Cursor | None = None) -> ConversationPage:
    """Return a page of records with these ids."""
    body = b'{"data":[%s]}' % b",".join(b'{"id":"%s"}' % id_.encode() for id_ in ids)
    items = tuple(Conversation(id=id_, created_at=_EPOCH) for id_ in ids)
    return ConversationPage(items=items, next_cursor=cursor, body=body)


class ModelListing:
    """Rows of (milliseconds, id), newest or oldest first, in pages like those of the API.

    ``made_up`` says how the listing treats a cursor that it did not send: "honour", "ignore",
    "reject", "empty" (return an empty page), or "by_id" (use only the id). ``end`` says which
    cursor the last page has: "null" (none), "empty" (a cursor that leads to an empty page), or
    "echo" (a cursor that leads to an empty page with the same cursor). The listing reads ``limit``
    rows for a page, and then removes those that ``shows`` rejects, like a server that filters after
    reading.
    """

    def __init__(
        self,
        times: Sequence[int],
        *,
        limit: int = 10,
        rising: bool = False,
        made_up: str = "honour",
        end: str = "null",
        seed: int = 0,
    ) -> None:
        self.limit, self.rising, self.made_up, self.end = limit, rising, made_up, end
        self.shows: Callable[[str], bool] = lambda _: True
        self._random = Random(seed)
        self.times = {f"{self._random.getrandbits(40):010x}.{n}": t for n, t in enumerate(times)}
        self._rows = sorted((time, id_) for id_, time in self.times.items())
        self._now = max(times, default=0) + 1000
        self._issued = set[Cursor]()
        self.requests: list[Cursor | None] = []

    def move(self, id_: str | None = None) -> None:
        """Add a message to a conversation, which makes it the newest one."""
        id_ = id_ or self._random.choice(list(self.times))
        self._rows.remove((self.times[id_], id_))
        self._now += self._random.choice([1, 1000])
        self.times[id_] = self._now
        insort(self._rows, (self._now, id_))

    def add(self, id_: str) -> None:
        """Add a conversation, which becomes the newest one."""
        self._now += 1000
        self.times[id_] = self._now
        insort(self._rows, (self._now, id_))

    def has_sent(self, cursor: Cursor) -> bool:
        """Return whether the listing has sent a cursor."""
        return cursor in self._issued

    def page(self, cursor: Cursor | None, limit: int | None = None) -> ConversationPage:
        """Return the page after a cursor.

        Raises:
            BadRequestError: The cursor is rejected.
        """
        self.requests.append(cursor)
        rows = self._after(cursor)
        found = rows[: limit or self.limit]
        following = cursor if self.end == "echo" else None
        if found and (len(rows) > len(found) or self.end != "null"):
            following = Cursor(found[-1][1], spelled(found[-1][0]))
            self._issued.add(following)
        shown = [id_ for _, id_ in found if self.shows(id_)]
        return make_page(shown, following)

    def _after(self, cursor: Cursor | None) -> list[tuple[int, str]]:
        """Return the rows after a cursor: those of a page, and one more."""
        if cursor is None:
            place = None
        elif self.made_up == "by_id":
            place = (self.times[cursor.cursor_id], cursor.cursor_id)
        elif cursor in self._issued or self.made_up == "honour":
            place = (read(cursor.cursor_ts), cursor.cursor_id)
        elif self.made_up == "reject":
            raise BadRequestError("no such cursor", status=400)
        elif self.made_up == "empty":
            return []
        else:
            place = None
        if self.rising:
            begin = 0 if place is None else bisect_right(self._rows, place)
            return self._rows[begin : begin + self.limit + 1]
        end = len(self._rows) if place is None else bisect_left(self._rows, place)
        return self._rows[max(0, end - self.limit - 1) : end][::-1]


class EndlessListing(ModelListing):
    """A listing that continues forever after its last page.

    ``kinds`` names the further pages, in turn: "empty", "repeat" (the first page again) or
    "cycle" (all pages of the listing, one after another). Each of these pages has a new cursor,
    and ``moments`` has the timestamps of these cursors, in turn.
    """

    def __init__(
        self, times: Sequence[int], *, kinds: Sequence[str], moments: Sequence[str], **options: Any
    ) -> None:
        super().__init__(times, **options)
        self.kinds, self.moments = kinds, moments

    def page(self, cursor: Cursor | None, limit: int | None = None) -> ConversationPage:
        if cursor is None or not cursor.cursor_id.startswith("endless-"):
            page = super().page(cursor, limit)
            return self._leading_to(1, page) if page.next_cursor is None else page
        self.requests.append(cursor)
        number = int(cursor.cursor_id.removeprefix("endless-"))
        return self._leading_to(number + 1, self._after_the_end(number))

    def _after_the_end(self, number: int) -> ConversationPage:
        kind = self.kinds[number % len(self.kinds)]
        rows = self._rows if self.rising else self._rows[::-1]
        begin = {"empty": len(rows), "repeat": 0}.get(kind)
        if begin is None:
            begin = number * self.limit % max(len(rows), 1)
        ids = [id_ for _, id_ in rows[begin : begin + self.limit]]
        return make_page(ids)

    def _leading_to(self, number: int, page: ConversationPage) -> ConversationPage:
        moment = self.moments[number % len(self.moments)]
        cursor = Cursor(f"endless-{number}", moment)
        self._issued.add(cursor)
        return msgspec.structs.replace(page, next_cursor=cursor)


def spread(n: int, shape: str, random: Random) -> list[int]:
    """Return ``n`` times within ten days, with a distribution that ``shape`` names."""
    match shape:
        case "even":
            return [random.randrange(10 * DAY) for _ in range(n)]
        case "bursts":
            begins = [random.randrange(10 * DAY) for _ in range(5)]
            return [random.choice(begins) + random.randrange(10_000) for _ in range(n)]
        case "late":
            return [int(10 * DAY * (1 - random.random() ** 8)) for _ in range(n)]
        case "ties":
            return [random.randrange(8) * DAY for _ in range(n)]
        case _:
            return [5] * n


def _answer(listing: ModelListing, segment: Segment) -> ConversationPage:
    is_probe = segment.stage is Stage.PROBE
    return listing.page(segment.walk.cursor, -(-listing.limit // 10) if is_probe else None)


def replay(
    walk: ParallelWalk,
    listing: ModelListing,
    *,
    walkers: int,
    finish: Callable[[ConversationPage], ConversationPage | None] | None = None,
    random: Random | None = None,
    between: Callable[[], object] = lambda: None,
    most: float = inf,
    pages: list[ConversationPage] | None = None,
) -> tuple[list[ConversationPage], float]:
    """Run a walk to its end without a network, and return its pages and its duration.

    Args:
        walk: The walk.
        listing: The listing that replies to the walk's requests.
        walkers: The maximum number of requests in flight.
        finish: A function that converts each page before it is returned. The default makes a
            tracked page.
        random: The source of the replies' durations, which are from 0.2 to 3 seconds. With None,
            each reply takes a second.
        between: A function that is called after each reply.
        most: The number of replies after which the walk stops. Replies in flight are discarded.
        pages: A list to which the pages are added, even if the walk then raises an error.

    Returns:
        The pages in the order of arrival, and the duration in seconds.
    """
    finish, pages = finish or walk.tracked, [] if pages is None else pages
    in_flight: list[tuple[float, int, Segment]] = []
    ticket, now = count(), 0.0

    def ask(segment: Segment) -> None:
        took = random.uniform(0.2, 3.0) if random else 1.0
        heapq.heappush(in_flight, (now + took, next(ticket), segment))

    if (first := walk.next(None)) is not None:
        ask(first)
    while in_flight and most > 0:
        most -= 1
        now, _, segment = heapq.heappop(in_flight)
        try:
            page = walk.advance(segment, _answer(listing, segment))
        except BadRequestError as error:
            if not walk.excuses(segment, error):
                raise
            page = None
        if page is not None and (finished := finish(page)) is not None:
            pages.append(finished)
        between()
        if segment.error:
            raise segment.error
        if (following := walk.next(segment)) is not None:
            ask(following)
        while len(in_flight) < walkers and (another := walk.split()):
            ask(another)
    return pages, now
