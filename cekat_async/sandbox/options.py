"""The options of a sandbox: its quota, its dialect of the API, and its live mode."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import msgspec

from cekat_async.sandbox.validation import (
    require_choice,
    require_integer,
    require_number,
    require_positive,
)

Window: TypeAlias = Literal["fixed", "first_hit", "sliding", "bucket"]
QuotaHeaders: TypeAlias = Literal["x-ratelimit", "ratelimit", "ratelimit-combined"]
ResetAs: TypeAlias = Literal["epoch", "epoch_ms", "delta"]
RetryAfter: TypeAlias = Literal["seconds", "fraction", "http-date"]
End: TypeAlias = Literal[
    "null_pair",
    "null_cursor",
    "missing_cursor",
    "null_metadata",
    "missing_metadata",
    "empty_page",
    "echo",
]
OverLimit: TypeAlias = Literal["clamp", "reject"]
Timestamps: TypeAlias = Literal["offset", "z", "micro", "naive", "space"]
Order: TypeAlias = Literal["activity", "created", "ascending"]
Density: TypeAlias = Literal["even", "bursty", "recent"]
MadeUpCursors: TypeAlias = Literal["honour", "ignore", "reject", "by_id"]
EndlessPages: TypeAlias = Literal["empty", "repeat", "cycle"]
EndlessTimes: TypeAlias = Literal["still", "advance", "backwards", "unreadable", "past", "future"]
Compress: TypeAlias = Literal["gzip", "deflate"]

_MAX_TIE: Final = 10_000


class Quota(msgspec.Struct, frozen=True):
    """The number of requests that the server grants, and the headers that report it.

    Every request counts, even a request without a valid key, because a gateway counts requests
    before it checks keys. However, a request that gets a 429 uses no quota.

    Attributes:
        requests: The number of requests granted per window, or the number of tokens that a bucket
            gains in ``per`` seconds. Default 300.
        per: The length of the window in seconds. Default 60.
        window: The kind of window. With ``"fixed"``, the default, one window starts at ``phase`` on
            the event loop's clock, and then a new window starts every ``per`` seconds. With
            ``"first_hit"``, a window starts with the first request after the last window.
            ``"sliding"`` grants at most ``requests`` in any ``per`` seconds. ``"bucket"`` is a
            bucket of ``burst`` tokens that refills evenly.
        headers: The rate-limit headers of each reply. ``"x-ratelimit"``, the default, sends
            ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``. ``"ratelimit"`` sends
            ``RateLimit-Limit``, ``-Remaining`` and ``-Reset``. ``"ratelimit-combined"`` sends
            ``RateLimit`` and ``RateLimit-Policy``. ``None`` sends none.
        retry_after: The format of ``Retry-After`` on a 429: whole seconds, rounded up
            (``"seconds"``, the default), seconds with three decimals (``"fraction"``), a date
            (``"http-date"``), or no header (``None``).
        per_day: The number of requests granted in the 24 hours that start with the first request.
            Default ``None``: no daily limit.
        burst: The number of tokens in a full bucket. It applies only to buckets. Default ``None``:
            the same number as ``requests``.
        reset_as: The format of ``X-RateLimit-Reset``: seconds since 1970 (``"epoch"``, the
            default), milliseconds since 1970 (``"epoch_ms"``) or seconds from now (``"delta"``).
            The ``RateLimit`` headers always have seconds from now.
        phase: The time at which a fixed window starts, in seconds on the event loop's clock.
            Default 0.

    Raises:
        ValueError: An option is invalid.

    Examples:
        >>> sandbox = Sandbox(quota=Quota(60, window="sliding", per_day=1000))
    """

    requests: int = 300
    per: float = 60.0
    window: Window = "fixed"
    headers: QuotaHeaders | None = "x-ratelimit"
    retry_after: RetryAfter | None = "seconds"
    per_day: int | None = None
    burst: int | None = None
    reset_as: ResetAs = "epoch"
    phase: float = 0.0

    def __post_init__(self) -> None:
        require_integer("requests", self.requests, minimum=1)
        require_positive("per", self.per)
        require_choice("window", self.window, get_args(Window))
        require_choice("headers", self.headers, (None, *get_args(QuotaHeaders)))
        require_choice("retry_after", self.retry_after, (None, *get_args(RetryAfter)))
        require_choice("reset_as", self.reset_as, get_args(ResetAs))
        require_number("phase", self.phase)
        if self.per_day is not None:
            require_integer("per_day", self.per_day, minimum=1)
        if self.burst is not None:
            require_integer("burst", self.burst, minimum=1)
            require_choice("window of a quota with a burst", self.window, ("bucket",))


class Dialect(msgspec.Struct, frozen=True):
    """The behaviour of the server that the API's documentation does not define.

    Attributes:
        end: The way in which the last page shows that it is the last. With ``"null_pair"``, the
            default, ``next_cursor`` is a pair of nulls. With ``"null_cursor"``, it is null, and
            with ``"missing_cursor"``, it is missing. With ``"null_metadata"``, the whole metadata
            is null, and with ``"missing_metadata"``, it is missing. With ``"empty_page"`` and
            ``"echo"``, the last page has a real cursor that leads to an empty page. The cursor on
            this empty page is a pair of nulls (``"empty_page"``) or the same cursor again
            (``"echo"``).
        over_limit: The reaction to a ``limit`` above the maximum. The server lowers it
            (``"clamp"``, the default) or replies with a 400 (``"reject"``).
        timestamps: The format of timestamps in records: milliseconds with ``+00:00``
            (``"offset"``, the default) or ``Z`` (``"z"``), microseconds with ``+00:00``
            (``"micro"``) or without a zone (``"naive"``), or whole seconds with a space and no zone
            (``"space"``). All timestamps are in UTC. The option does not change the format of
            cursors.
        order: The order of the listing: newest activity first (``"activity"``, the default), newest
            creation first (``"created"``) or oldest activity first (``"ascending"``). Cursors
            contain the timestamp by which the listing is sorted.
        max_limit: The maximum value of ``limit``. Default 100.
        compress: The compression of bodies for clients that accept it: ``"gzip"`` or ``"deflate"``.
            Default ``None``.
        unknown_fields: Whether some records have fields that are not documented. Default ``True``.
        collections_null: The fraction of records, from 0 to 1, in which a collection is null. It
            applies separately to ``labels``, ``additional_data`` and ``last_message``. Default
            0.02.
        tie: The number of consecutive conversations that share a timestamp, so that their cursors
            differ only in the id. Default 1.
        density: The distribution of the conversations over time. ``"even"``, the default,
            distributes them evenly. ``"bursty"`` has bursts of different sizes, with gaps about
            fifty times as long as the bursts. There are about 20 bursts for 40,000 conversations,
            and the number of bursts grows with the fourth root of the number of conversations.
            ``"recent"`` has the newest 90 % of the conversations within 1 % of the time. In all
            three, the time from the newest to the oldest conversation is about 100 seconds times
            the number of conversations, divided by ``tie``. In ``"bursty"`` and ``"recent"``, the
            timestamps depend on the number of conversations.
        made_up_cursors: The reaction to a cursor that the server never sent in exactly this form.
            ``"honour"``, the default, continues from the place in the cursor, even between two
            conversations. ``"ignore"`` returns the first page. ``"reject"`` replies with a 400. For
            these two, the server remembers every cursor that it sends, so its memory use grows with
            the number of pages, and it does not know the cursors of another sandbox. ``"by_id"``
            continues from the current position of the conversation ``cursor_id``, ignores
            ``cursor_ts``, and replies to an unknown id with a 400. All four dialects accept every
            cursor that the server did send. The only exception is ``"by_id"`` after the
            conversation of a cursor was deleted.
        endless: The pages that a broken server sends without end after the last page of a listing,
            each with a new cursor: empty pages (``"empty"``), the first page repeatedly
            (``"repeat"``), or all pages from first to last repeatedly (``"cycle"``). ``end`` then
            has no effect, and each page of inboxes claims that there is another page. Default
            ``None``: the server is not broken in this way.
        endless_times: The timestamps in the cursors of ``endless``. ``"still"``, the default,
            repeats the timestamp of the last conversation. ``"advance"`` moves 30 days further on
            each page, in the direction of the listing, and ``"backwards"`` moves 30 days in the
            opposite direction. ``"unreadable"`` sends texts that are not timestamps. ``"past"`` and
            ``"future"`` send times around 1970 and 2200.

    Raises:
        ValueError: An option is invalid.

    Examples:
        >>> sandbox = Sandbox(dialect=Dialect(end="empty_page", timestamps="naive"))
    """

    end: End = "null_pair"
    over_limit: OverLimit = "clamp"
    timestamps: Timestamps = "offset"
    order: Order = "activity"
    max_limit: int = 100
    compress: Compress | None = None
    unknown_fields: bool = True
    collections_null: float = 0.02
    tie: int = 1
    density: Density = "even"
    made_up_cursors: MadeUpCursors = "honour"
    endless: EndlessPages | None = None
    endless_times: EndlessTimes = "still"

    def __post_init__(self) -> None:
        require_choice("end", self.end, get_args(End))
        require_choice("over_limit", self.over_limit, get_args(OverLimit))
        require_choice("timestamps", self.timestamps, get_args(Timestamps))
        require_choice("order", self.order, get_args(Order))
        require_integer("max_limit", self.max_limit, minimum=1)
        require_choice("compress", self.compress, (None, *get_args(Compress)))
        require_number("collections_null", self.collections_null, maximum=1.0)
        require_integer("tie", self.tie, minimum=1, maximum=_MAX_TIE)
        require_choice("density", self.density, get_args(Density))
        require_choice("made_up_cursors", self.made_up_cursors, get_args(MadeUpCursors))
        require_choice("endless", self.endless, (None, *get_args(EndlessPages)))
        require_choice("endless_times", self.endless_times, get_args(EndlessTimes))


class Live(msgspec.Struct, frozen=True):
    """The changes in the account after each page of conversations, in events per page.

    2.0 means two events after each page, and 0.25 means one event after a quarter of the pages. The
    seed and the number of pages sent so far decide which conversations change.

    Attributes:
        messages: The number of conversations that receive a message. The message becomes their
            ``last_message``, and they move to the front of the listing. Default 0.
        created: The number of conversations that are created. They become the newest. Default 0.
        resolved: The number of conversations that are resolved. Their position does not change.
            Default 0.
        seed: The seed of the events. Default 0.

    Raises:
        ValueError: A number is negative.

    Examples:
        >>> sandbox = Sandbox(live=Live(messages=2.0, created=0.25))
    """

    messages: float = 0.0
    created: float = 0.0
    resolved: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("messages", self.messages)
        require_number("created", self.created)
        require_number("resolved", self.resolved)
        require_integer("seed", self.seed, minimum=-(1 << 63))
