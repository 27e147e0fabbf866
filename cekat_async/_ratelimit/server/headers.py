"""Parses the rate-limit headers of a reply, in any of their dialects. Pure.

There is no standard. Servers disagree about the meaning of ``X-RateLimit-*``, and the drafts of
``RateLimit`` (draft-ietf-httpapi-ratelimit-headers) changed their syntax several times. The parser
ignores everything that it does not understand. If two headers differ, the parser uses the value
that allows fewer requests.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from cekat_async._api.dates import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["SHORTEST_WINDOW", "QuotaStatement", "get_scarcity", "parse_rate_limit_headers"]


class QuotaStatement(msgspec.Struct, frozen=True):
    """One reply's statement about one quota. An attribute that is not stated is ``None``.

    Attributes:
        limit: The requests per window.
        remaining: The requests left in the window.
        reset: The seconds from the reply's own time until the window ends. The value may be up to a
            second too long, but is never too short.
        per: The length of the window in seconds.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    per: float | None = None

    @property
    def is_long(self) -> bool:
        """Whether the quota's window is longer than an hour, for example a day."""
        return (self.per or 0.0) > _LONG or (self.reset or 0.0) > _LONG


def get_scarcity(reported: QuotaStatement) -> float:
    """Return how many requests are left of a quota; infinite if the reply does not say."""
    return math.inf if reported.remaining is None else reported.remaining


# A quota whose window is longer than this many seconds counts as a daily quota.
_LONG = 3_600.0
_NOTHING = QuotaStatement()

_LIMITS = ("X-RateLimit-Limit", "X-Rate-Limit-Limit", "RateLimit-Limit")
# The names of the headers for limit, remaining and reset, in each dialect with three headers.
_TRIOS = (
    ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    ("X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"),
    ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    ("", "", "X-RateLimit-Reset-After"),
    ("", "", "X-Rate-Limit-Reset-After"),
)
_TRIO_BY_NAME = {name: names for names in _TRIOS for name in names if name}
_LISTED = frozenset((*_LIMITS, "RateLimit-Policy", "RateLimit"))
_NAMES = {name.lower(): name for name in {*_TRIO_BY_NAME, *_LISTED}}

# Numbers are parsed by hand, because float() and int() also accept signs, 1_000, digits of other
# alphabets, and infinity. A number with more than nine digits cannot be a real number of requests.
_DIGITS = 9
_WHOLE = re.compile(rf"([0-9]{{1,{_DIGITS}}})(?:\.0*)?")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]*)?")
# In a structured field, commas separate members and semicolons separate their parameters, except in
# quotes. Each alternative begins with a different character, so matching takes linear time.
_MEMBER = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_PART = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETER = re.compile(r"([a-z][a-z0-9_.*-]*)\s*=(.*)", re.ASCII | re.DOTALL)
# In draft 11, the text says "requests" and the table of units says "request".
_REQUESTS = ("requests", "request")

# No real server has more policies. Parsing thousands of them would block the event loop.
_MOST_MEMBERS = 20
_LONGEST_RESET = 31 * 86_400.0
_LONGEST_WINDOW = 366 * 86_400.0
SHORTEST_WINDOW = 0.001
"""Seconds. A window must be longer than this, or a clock cannot distinguish requests."""
# A reset up to this many seconds ago may have passed while the reply was on its way, so it counts
# as now. An older reset is an error.
_JUST_OVER = 5.0
# A reset below the first number counts in seconds from now (up to three years). A reset between the
# two numbers counts in seconds since 1970, and a larger reset in milliseconds since 1970. These
# three formats are distinct from 1973 until the year 5138.
_EPOCH, _EPOCH_MS = 1e8, 1e11


def parse_rate_limit_headers(headers: Mapping[str, str]) -> tuple[QuotaStatement, ...]:
    """Return one statement for each quota in a reply's headers. Usually there is one or none.

    The function accepts any text and never raises.
    """
    found = _find_headers(headers)
    if not found:
        return ()
    date = headers.get("Date", "")
    trios = {_TRIO_BY_NAME[name] for name in found if name in _TRIO_BY_NAME}
    unnamed = [_parse_trio(found, names, date) for names in trios]
    members = _parse_members(found)
    if not members:
        one = _merge(unnamed)
        return (one,) if one != _NOTHING else ()
    quotas = _group_by_name(members, date)
    unnamed.append(quotas.pop("", _NOTHING))
    named = [quota for quota in quotas.values() if quota != _NOTHING]
    return tuple(one for one in _attach_unnamed(_merge(unnamed), named) if one != _NOTHING)


def _find_headers(headers: Mapping[str, str]) -> dict[str, str]:
    names = [_NAMES[name.lower()] for name in headers if name.lower() in _NAMES]
    getall = getattr(headers, "getall", None)
    if getall is None:
        return {name: headers.get(name, "") for name in names}
    # A header may be repeated, but a plain lookup returns only its first value.
    return {name: ", ".join(getall(name, ())) for name in names}


def _parse_trio(found: Mapping[str, str], names: tuple[str, str, str], date: str) -> QuotaStatement:
    limit, remaining, reset = names
    # The first number is the limit. A window and further policies may follow.
    first = re.split("[,;]", found.get(limit, ""), maxsplit=1)[0]
    return QuotaStatement(
        limit=_parse_count(first) or None,
        remaining=_parse_count(found.get(remaining, "")),
        reset=_parse_reset(found.get(reset, ""), date),
    )


def _parse_members(headers: Mapping[str, str]) -> list[dict[str, str]]:
    members: list[dict[str, str]] = []
    for name, text in headers.items():
        # Most limits are bare numbers without policies.
        if name in _LISTED and not (name in _LIMITS and text.isdecimal()):
            found = map(_parse_parameters, _MEMBER.findall(text)[:_MOST_MEMBERS])
            # In older drafts, a bare number is a policy. In "RateLimit", a bare number means
            # nothing.
            members += [
                member
                for member in found
                if name != "RateLimit" or not _WHOLE.fullmatch(member.get("", ""))
            ]
    return members


def _parse_parameters(member: str) -> dict[str, str]:
    """Return a member's parameters by name. The first part of the member has the name ``""``."""
    found: dict[str, str] = {}
    for part in map(str.strip, _PART.findall(member)):
        match = _PARAMETER.match(part)
        key, value = (match[1], match[2].strip().strip('"')) if match else ("", part)
        found.setdefault(key, value)
    return found


def _group_by_name(members: Iterable[dict[str, str]], date: str) -> dict[str, QuotaStatement]:
    """Merge statements about quotas of the same name. In older drafts, the limit is the name."""
    # Draft 07 has several members without a name: ``limit=100, remaining=50``.
    groups: dict[str, list[QuotaStatement]] = {}
    foreign: set[str] = set()
    for member in members:
        name = member.get("", "")
        groups.setdefault(name, []).append(_parse_statement(member, date))
        if member.get("qu", "requests") not in _REQUESTS:
            foreign.add(name)  # a quota of bytes, or of concurrent requests
    return {name: _merge(group) for name, group in groups.items() if name not in foreign}


def _parse_statement(member: Mapping[str, str], date: str) -> QuotaStatement:
    """Parse a member of any of the lists. Newer drafts use shorter parameter names."""
    return QuotaStatement(
        limit=_parse_count(_get_first(member, "q", "limit", "")) or None,
        remaining=_parse_count(_get_first(member, "r", "remaining")),
        reset=_parse_reset(_get_first(member, "t", "reset"), date),
        per=_parse_window(_get_first(member, "w", "window")),
    )


def _get_first(member: Mapping[str, str], *keys: str) -> str:
    return next((member[key] for key in keys if key in member), "")


def _attach_unnamed(unnamed: QuotaStatement, quotas: list[QuotaStatement]) -> list[QuotaStatement]:
    """Merge the unnamed statement into the named statement about the same quota.

    Statements about the same quota have the same limit. Without a match, the unnamed statement is a
    separate quota: ``remaining: 300`` next to a policy of 10,000 a day does not mean 300 a day.
    """
    only = len(quotas) == 1
    for place, quota in enumerate(quotas):
        known = unnamed.limit is not None and quota.limit is not None
        if unnamed.limit == quota.limit if known else only:
            return [*quotas[:place], _merge([unnamed, quota]), *quotas[place + 1 :]]
    return [unnamed, *quotas]


def _merge(several: Sequence[QuotaStatement]) -> QuotaStatement:
    """Merge several statements into one that allows the fewest requests in the longest time."""
    limit = min((one.limit for one in several if one.limit is not None), default=None)
    left = min((one.remaining for one in several if one.remaining is not None), default=None)
    reset = max((one.reset for one in several if one.reset is not None), default=None)
    per = max((one.per for one in several if one.per is not None), default=None)
    if limit is not None and left is not None:
        # A bucket may hold more than its refill per window, but its headers do not say how much.
        left = min(left, limit)
    return QuotaStatement(limit, left, reset, per)


def _parse_count(text: str) -> int | None:
    match = _WHOLE.fullmatch(_require_same(text))
    return int(match[1]) if match else None


def _parse_number(text: str) -> float | None:
    number = _require_same(text)
    return float(number) if _NUMBER.fullmatch(number) else None


def _require_same(text: str) -> str:
    """Return the value of a repeated header, or an empty string if the values differ."""
    first, *others = [part.strip() for part in text.split(",")]
    return first if all(other == first for other in others) else ""


def _parse_window(text: str) -> float | None:
    seconds = _parse_number(text)
    return (
        seconds if seconds is not None and SHORTEST_WINDOW <= seconds <= _LONGEST_WINDOW else None
    )


def _parse_reset(text: str, date: str) -> float | None:
    """Return the seconds until a reset."""
    seconds = _parse_number(text)
    if seconds is None:
        return None
    if seconds >= _EPOCH_MS:
        seconds /= 1000
    if seconds >= _EPOCH:
        seconds -= _get_server_time(date)
        if -_JUST_OVER <= seconds < 0:
            seconds = 0.0
    return seconds if 0 <= seconds <= _LONGEST_RESET else None


def _get_server_time(date: str) -> float:
    # The server computes resets with its own clock, so the wait is computed from ``Date``. ``Date``
    # is rounded down to a second, so the wait is never too short.
    moment = parse_http_date(date) or datetime.now(UTC)
    return moment.timestamp()
