"""Options of a sandbox: its quota, its dialect of the API, and its live mode."""

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
    """How many requests the server grants, and how it reports that.

    Every request counts, also one without the right key, as at a gateway that counts first. A
    refused request uses no quota.

    Args:
        requests: Requests granted per window; the bucket's refill per ``per`` seconds.
        per: Length of the window in seconds.
        window: ``"fixed"`` starts a window at ``phase`` and at every ``per`` seconds from there on
            the event loop's clock; ``"first_hit"`` starts one with the first request after the
            last window; ``"sliding"`` grants ``requests`` in any ``per`` seconds; ``"bucket"``
            holds ``burst`` tokens and refills evenly.
        headers: ``"x-ratelimit"`` sends ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``;
            ``"ratelimit"`` sends ``RateLimit-Limit``, ``-Remaining`` and ``-Reset``;
            ``"ratelimit-combined"`` sends ``RateLimit`` and ``RateLimit-Policy``; ``None`` sends
            none.
        retry_after: Format of ``Retry-After`` on a 429: whole seconds, rounded up
            (``"seconds"``), a decimal number with milliseconds (``"fraction"``), a date
            (``"http-date"``), or no header (``None``).
        per_day: Requests granted in the 24 hours that start with the first request; ``None`` for
            no daily limit.
        burst: Tokens that the bucket holds when full; ``None`` for ``requests``. Only for buckets.
        reset_as: Format of ``X-RateLimit-Reset``: seconds since 1970 (``"epoch"``), milliseconds
            since 1970 (``"epoch_ms"``) or seconds from now (``"delta"``). The ``RateLimit``
            headers always use seconds from now.
        phase: Where fixed windows start, in seconds on the event loop's clock.

    Raises:
        ValueError: An option is invalid.
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
    """How the server behaves where the API's documentation is silent.

    Args:
        end: What the last page carries: a pair of nulls (``"null_pair"``), a null
            (``"null_cursor"``) or missing (``"missing_cursor"``) ``next_cursor``, null
            (``"null_metadata"``) or missing (``"missing_metadata"``) metadata, or a real cursor
            that leads to an empty page with a pair of nulls (``"empty_page"``) or with the same
            cursor again (``"echo"``).
        over_limit: A ``limit`` above the maximum is lowered (``"clamp"``) or refused with a 400
            (``"reject"``).
        timestamps: Format of timestamps in records: milliseconds with ``+00:00`` (``"offset"``)
            or ``Z`` (``"z"``), microseconds with ``+00:00`` (``"micro"``) or without a zone
            (``"naive"``), whole seconds with a space and no zone (``"space"``). All are UTC.
            Cursors keep their own format.
        order: Newest activity first (``"activity"``), newest created first (``"created"``) or
            oldest activity first (``"ascending"``). The cursor's timestamp is the one that the
            listing is ordered by.
        max_limit: The largest ``limit``.
        compress: Compression of bodies for clients that accept it.
        unknown_fields: Some records have fields that the documentation does not name.
        collections_null: Share of the records, 0 to 1, whose ``labels``, ``additional_data`` and
            ``last_message`` are null; drawn separately for each of the three.
        tie: How many neighbouring conversations share one timestamp, so that their cursors differ
            only in the id.
        density: How the conversations are distributed over time: at one pace (``"even"``); in
            bursts of different sizes, each followed by a gap about fifty times as long
            (``"bursty"``; about 20 bursts for 40,000 conversations, growing with the fourth root
            of their number); or 90 % of them, the newest, within 1 % of the time (``"recent"``).
            The time from the newest to the oldest is about the same in all three: 100 seconds for
            each conversation (or for each ``tie`` of them). In the last two, the timestamps depend
            on the number of conversations.
        made_up_cursors: How the server treats a cursor that it never issued in exactly this form:
            as a position between rows (``"honour"``), as no cursor, so that the first page is
            returned (``"ignore"``), or with a 400 (``"reject"``). For the last two the server
            remembers every cursor it issues, so its memory grows with the pages it has sent, and
            it does not know the cursors of another sandbox. ``"by_id"`` looks up the conversation
            ``cursor_id`` and continues from its current position, whatever ``cursor_ts`` says; an
            unknown id gets a 400. Issued cursors work in each of the four, except with
            ``"by_id"`` after their conversation has been deleted.
        endless: A broken server: after the end of each listing more pages follow without end, each
            with a new cursor. They are empty (``"empty"``), the first page again and again
            (``"repeat"``), or all pages from first to last again and again (``"cycle"``). ``end``
            has no effect then. Each page of inboxes claims that there is one more.
        endless_times: Timestamps of those cursors: that of the last conversation (``"still"``), 30
            days further in the direction of the listing on each page (``"advance"``) or 30 days
            back (``"backwards"``), not timestamps at all (``"unreadable"``), or times about 1970
            (``"past"``) or 2200 (``"future"``).

    Raises:
        ValueError: An option is invalid.
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
    """What changes in the account after each page of conversations, in events per page.

    2.0 means two after each page, 0.25 means one after a quarter of the pages. The seed and the
    number of pages sent so far decide which conversations change.

    Args:
        messages: Conversations that receive a message: it becomes ``last_message``, the time of
            last activity changes, and so does the position in the listing.
        created: New conversations. They appear as the newest.
        resolved: Conversations that are resolved. Their position does not change.
        seed: Seed of the events.

    Raises:
        ValueError: A number is negative.
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
