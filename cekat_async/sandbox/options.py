"""What a sandbox can be told: its quota, its dialect of the API, and what goes on while it runs."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import msgspec

from . import checks

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

_MOST_TIED: Final = 10_000


class Quota(msgspec.Struct, frozen=True):
    """How many requests the server grants, and what it says about that.

    Every request counts, unauthorised ones too, as at a gateway that counts before it looks. A
    refused request takes nothing.

    Args:
        requests: requests granted per window; the bucket's refill per `per` seconds.
        per: length of the window in seconds.
        window: `"fixed"` starts a window at `phase` and at every `per` seconds from there on the
            event loop's clock; `"first_hit"` starts one with the first request after the last
            window; `"sliding"` grants `requests` in any `per` seconds; `"bucket"` holds `burst`
            tokens and refills evenly.
        headers: `"x-ratelimit"` sends `X-RateLimit-Limit`, `-Remaining` and `-Reset`;
            `"ratelimit"` sends `RateLimit-Limit`, `-Remaining` and `-Reset`;
            `"ratelimit-combined"` sends `RateLimit` and `RateLimit-Policy`; `None` says nothing.
        retry_after: how a 429 spells `Retry-After`: whole seconds, rounded up (`"seconds"`),
            milliseconds as a decimal (`"fraction"`), a date (`"http-date"`), or not at all
            (`None`).
        per_day: requests granted in the 24 hours that start with the first request; `None` for no
            daily limit.
        burst: tokens that the bucket holds when full; `None` for `requests`. Only for buckets.
        reset_as: how `X-RateLimit-Reset` counts: seconds since 1970 (`"epoch"`), milliseconds
            since 1970 (`"epoch_ms"`) or seconds from now (`"delta"`). The `RateLimit` headers
            always say seconds from now.
        phase: where fixed windows start, in seconds on the event loop's clock.

    Raises:
        ValueError: an option makes no sense.
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
        checks.whole("requests", self.requests, least=1)
        checks.above_zero("per", self.per)
        checks.one_of("window", self.window, get_args(Window))
        checks.one_of("headers", self.headers, (None, *get_args(QuotaHeaders)))
        checks.one_of("retry_after", self.retry_after, (None, *get_args(RetryAfter)))
        checks.one_of("reset_as", self.reset_as, get_args(ResetAs))
        checks.number("phase", self.phase)
        if self.per_day is not None:
            checks.whole("per_day", self.per_day, least=1)
        if self.burst is not None:
            checks.whole("burst", self.burst, least=1)
            checks.one_of("window of a quota with a burst", self.window, ("bucket",))


class Dialect(msgspec.Struct, frozen=True):
    """The ways in which the real server may turn out, where its documentation is silent.

    Args:
        end: what the last page carries: a pair of nulls (`"null_pair"`), a null
            (`"null_cursor"`) or missing (`"missing_cursor"`) `next_cursor`, null
            (`"null_metadata"`) or missing (`"missing_metadata"`) metadata, or a real cursor, behind
            which lies an empty page with a pair of nulls (`"empty_page"`) or with the very cursor
            that was asked for (`"echo"`).
        over_limit: a `limit` above the maximum is lowered (`"clamp"`) or refused with a 400
            (`"reject"`).
        timestamps: the spelling of timestamps in records: milliseconds with `+00:00`
            (`"offset"`) or `Z` (`"z"`), microseconds with `+00:00` (`"micro"`) or without a zone
            (`"naive"`), whole seconds with a space and no zone (`"space"`). All mean UTC. Cursors
            keep their own spelling.
        order: newest activity first (`"activity"`), newest created first (`"created"`) or oldest
            activity first (`"ascending"`). The cursor's timestamp is the one the order goes by.
        max_limit: the largest `limit`.
        compress: compression of bodies for clients that accept it.
        unknown_fields: some records carry fields that no documentation names.
        collections_null: share of the records, 0 to 1, whose `labels`, `additional_data` and
            `last_message` are null; drawn for each of the three by itself.
        tie: how many neighbouring conversations share one timestamp, and so differ in a cursor
            by their ids only.
        density: how the conversations lie in time: one after another at one pace (`"even"`); in
            bursts of different sizes, each followed by a void about fifty times as long as itself
            (`"bursty"`; about 20 bursts for 40,000 conversations, their number growing with the
            fourth root); or 90 % of them, the newest, within 1 % of the time (`"recent"`). The
            time from the newest to the oldest is about the same in all three, 100 seconds for each
            conversation (or for each `tie` of them). In the last two, the timestamps depend on
            how many conversations there are.
        made_up_cursors: how a cursor is taken that the server never handed out itself, to the
            letter: it points between rows (`"honour"`), it is as good as none, which gives the
            front page (`"ignore"`), or it gets a 400 (`"reject"`). For the last two the server
            remembers every cursor that it hands out, so its memory grows with the pages it has
            answered; cursors of another sandbox are made up to it. `"by_id"` looks up the
            conversation `cursor_id` and goes on from where that stands now, whatever `cursor_ts`
            says; an id of none gets a 400. Cursors that were handed out work in each of the four,
            but for `"by_id"` when their conversation has been deleted.
        endless: a broken server: after the end of each listing come more pages, without end, each
            with a new cursor. They are empty (`"empty"`), the first page again and again
            (`"repeat"`), or all pages from the first to the last again and again (`"cycle"`).
            `end` has no effect then. Listings of inboxes claim one more page on each page.
        endless_times: the timestamps of those cursors: that of the last conversation
            (`"still"`), 30 days further in the direction of the listing on each page (`"advance"`)
            or 30 days back (`"backwards"`), no timestamps at all (`"unreadable"`), or times about
            1970 (`"past"`) or 2200 (`"future"`).

    Raises:
        ValueError: an option makes no sense.
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
        checks.one_of("end", self.end, get_args(End))
        checks.one_of("over_limit", self.over_limit, get_args(OverLimit))
        checks.one_of("timestamps", self.timestamps, get_args(Timestamps))
        checks.one_of("order", self.order, get_args(Order))
        checks.whole("max_limit", self.max_limit, least=1)
        checks.one_of("compress", self.compress, (None, *get_args(Compress)))
        checks.number("collections_null", self.collections_null, most=1.0)
        checks.whole("tie", self.tie, least=1, most=_MOST_TIED)
        checks.one_of("density", self.density, get_args(Density))
        checks.one_of("made_up_cursors", self.made_up_cursors, get_args(MadeUpCursors))
        checks.one_of("endless", self.endless, (None, *get_args(EndlessPages)))
        checks.one_of("endless_times", self.endless_times, get_args(EndlessTimes))


class Live(msgspec.Struct, frozen=True):
    """What happens in the account after each page of conversations, as expected numbers of events.

    2.0 means two each time, 0.25 one in a quarter of the times. Which conversations are met
    follows from the seed and from how many pages have been answered.

    Args:
        messages: conversations that get a message: it becomes `last_message`, the time of last
            activity moves, and with it the place in the listing.
        created: conversations that appear, as the newest.
        resolved: conversations that are resolved, without changing their place.
        seed: seed of the events.

    Raises:
        ValueError: a number is negative.
    """

    messages: float = 0.0
    created: float = 0.0
    resolved: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        checks.number("messages", self.messages)
        checks.number("created", self.created)
        checks.number("resolved", self.resolved)
        checks.whole("seed", self.seed, least=-(1 << 63))
