"""What the headers of a reply say of the server's quotas, in whichever dialect. Pure.

There is no standard. ``X-RateLimit-*`` is a habit with as many meanings as servers; the drafts of
``RateLimit`` (draft-ietf-httpapi-ratelimit-headers) changed their syntax on the way, and servers
stand at every stage of it. So whatever can be understood is taken, what cannot counts as not said,
and of what is said twice the more careful counts.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from cekat_async._api.dates import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["QuotaStatement", "statements"]


class QuotaStatement(msgspec.Struct, frozen=True):
    """What one reply says of one quota; whatever it does not say is ``None``.

    Args:
        limit: requests per window.
        remaining: requests left in it.
        reset: seconds from the reply's own time until the window is over. It may be up to a second
            too long, never too short.
        per: length of the window in seconds.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    per: float | None = None


_NOTHING = QuotaStatement()

_LIMITS = ("X-RateLimit-Limit", "X-Rate-Limit-Limit", "RateLimit-Limit")
# Limit, remaining and reset, of each dialect that has a header for each of them.
_TRIOS = (
    ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    ("X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"),
    ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    ("", "", "X-RateLimit-Reset-After"),
    ("", "", "X-Rate-Limit-Reset-After"),
)
_TRIO_OF = {name: names for names in _TRIOS for name in names if name}
_LISTED = frozenset((*_LIMITS, "RateLimit-Policy", "RateLimit"))
_NAMES = {name.lower(): name for name in {*_TRIO_OF, *_LISTED}}

# float() and int() take more: signs, 1_000, other alphabets' digits, infinity. More requests than
# nine digits can say are absurd.
_DIGITS = 9
_WHOLE = re.compile(rf"([0-9]{{1,{_DIGITS}}})(?:\.0*)?")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]*)?")
# A structured field has members between commas, and they have parameters between semicolons; what
# stands in quotes is neither. Each alternative begins with another character, so that no text,
# however odd, takes longer than its length.
_MEMBER = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_PART = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETER = re.compile(r"([a-z][a-z0-9_.*-]*)\s*=(.*)", re.ASCII | re.DOTALL)
# Of draft 11, the text says "requests" and the table of units "request".
_REQUESTS = ("requests", "request")

# No server has as many policies; reading thousands of them would hold up everybody else.
_MOST_MEMBERS = 20
_LONGEST_RESET = 31 * 86_400.0
_LONGEST_WINDOW, _SHORTEST = 366 * 86_400.0, 0.001
# A moment that went by while the reply was on its way is now; an older one is a mistake.
_JUST_OVER = 5.0
# Below: seconds to go (up to three years). Between: seconds since 1970. Above: milliseconds since
# 1970. Moments are told apart from 1973 until the year 5138.
_EPOCH, _EPOCH_MS = 1e8, 1e11


def statements(headers: Mapping[str, str]) -> tuple[QuotaStatement, ...]:
    """Return a statement for each quota that a reply's headers name: mostly none, or one.

    It takes any text whatsoever, and never raises.
    """
    said = _said(headers)
    if not said:
        return ()
    date = headers.get("Date", "")
    trios = {_TRIO_OF[name] for name in said if name in _TRIO_OF}
    spoken = [_trio(said, names, date) for names in trios]
    members = _members(said)
    if not members:
        one = _careful(spoken)
        return (one,) if one != _NOTHING else ()
    quotas = _by_name(members, date)
    spoken.append(quotas.pop("", _NOTHING))
    found = _joined(_careful(spoken), [quota for quota in quotas.values() if quota != _NOTHING])
    return tuple(one for one in found if one != _NOTHING)


def _said(headers: Mapping[str, str]) -> dict[str, str]:
    # This runs for every reply: a look-up of each of the names takes longer.
    present = "\n".join(headers).lower()
    if "limit" not in present:
        return {}
    names = [_NAMES[name] for name in present.split("\n") if name in _NAMES]
    getall = getattr(headers, "getall", None)
    if getall is None:
        return {name: headers.get(name, "") for name in names}
    # A header that came several times is a list; a plain look-up shows only its first line.
    return {name: ", ".join(getall(name, ())) for name in names}


def _trio(said: Mapping[str, str], names: tuple[str, str, str], date: str) -> QuotaStatement:
    limit, remaining, reset = names
    left, seconds = _whole(said.get(remaining, "")), _until(said.get(reset, ""), date)
    return QuotaStatement(_limit(said.get(limit, "")), left, seconds)


def _limit(text: str) -> int | None:
    # The first one applies; behind it may stand its window, and more policies.
    if not text.isdecimal():
        text = text.partition(",")[0].partition(";")[0]
    return _whole(text) or None


def _members(said: Mapping[str, str]) -> list[dict[str, str]]:
    members: list[dict[str, str]] = []
    for name, text in said.items():
        # Most limits are a bare number, with no policies behind it.
        if name in _LISTED and not (name in _LIMITS and text.isdecimal()):
            found = map(_parameters, _MEMBER.findall(text)[:_MOST_MEMBERS])
            # A bare number is an older draft's policy, but nothing where standings are told.
            members += [
                member
                for member in found
                if name != "RateLimit" or not _WHOLE.fullmatch(member.get("", ""))
            ]
    return members


def _parameters(member: str) -> dict[str, str]:
    """Return a member's parameters by name, and what it begins with by the name ``""``."""
    found: dict[str, str] = {}
    for part in map(str.strip, _PART.findall(member)):
        match = _PARAMETER.match(part)
        key, value = (match[1], match[2].strip().strip('"')) if match else ("", part)
        found.setdefault(key, value)
    return found


def _by_name(members: Iterable[dict[str, str]], date: str) -> dict[str, QuotaStatement]:
    """Join what is said of quotas of one name, which in older drafts is the limit itself.

    Draft 07 spreads what it says over members without a name: ``limit=100, remaining=50``.
    """
    groups: dict[str, list[QuotaStatement]] = {}
    foreign: set[str] = set()
    for member in members:
        name = member.get("", "")
        groups.setdefault(name, []).append(_statement(member, date))
        if member.get("qu", "requests") not in _REQUESTS:
            foreign.add(name)  # bytes, or requests at a time
    return {name: _careful(group) for name, group in groups.items() if name not in foreign}


def _statement(member: Mapping[str, str], date: str) -> QuotaStatement:
    """Read a member of any of the lists; newer drafts have shorter names."""
    return QuotaStatement(
        limit=_whole(_first(member, "q", "limit", "")) or None,
        remaining=_whole(_first(member, "r", "remaining")),
        reset=_until(_first(member, "t", "reset"), date),
        per=_window(_first(member, "w", "window")),
    )


def _first(member: Mapping[str, str], *keys: str) -> str:
    return next((member[key] for key in keys if key in member), "")


def _joined(unnamed: QuotaStatement, quotas: list[QuotaStatement]) -> list[QuotaStatement]:
    """Add what is said without a name to what is said of the quota it is about.

    That is the one with its limit. Where there is none, it is a quota of its own: 300 requests
    that are left, and a policy of 10,000 a day, are not 300 a day.
    """
    only = len(quotas) == 1
    for place, quota in enumerate(quotas):
        known = unnamed.limit is not None and quota.limit is not None
        if unnamed.limit == quota.limit if known else only:
            return [*quotas[:place], _careful([unnamed, quota]), *quotas[place + 1 :]]
    return [unnamed, *quotas]


def _careful(said: Sequence[QuotaStatement]) -> QuotaStatement:
    """Make one statement of several: the fewest requests, in the longest time."""
    if len(said) == 1:
        return _within_limit(said[0])
    limit = min((one.limit for one in said if one.limit is not None), default=None)
    left = min((one.remaining for one in said if one.remaining is not None), default=None)
    reset = max((one.reset for one in said if one.reset is not None), default=None)
    per = max((one.per for one in said if one.per is not None), default=None)
    return _within_limit(QuotaStatement(limit, left, reset, per))


def _within_limit(one: QuotaStatement) -> QuotaStatement:
    # A bucket may hold more than it refills in a window; how much more, it does not say.
    if one.limit is None or one.remaining is None or one.remaining <= one.limit:
        return one
    return msgspec.structs.replace(one, remaining=one.limit)


def _whole(text: str) -> int | None:
    if len(text) <= _DIGITS and text.isdecimal() and text.isascii():
        return int(text)  # nearly always, and in half the time
    match = _WHOLE.fullmatch(_once(text))
    return int(match[1]) if match else None


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text) and not _NUMBER.fullmatch(text := _once(text)):
        return None
    return float(text)


def _once(text: str) -> str:
    """Return what was sent twice alike as if it were sent once; which of two applies is unknown."""
    first, *others = [part.strip() for part in text.split(",")]
    return first if all(other == first for other in others) else ""


def _window(text: str) -> float | None:
    seconds = _number(text)
    return seconds if seconds is not None and _SHORTEST <= seconds <= _LONGEST_WINDOW else None


def _until(text: str, date: str) -> float | None:
    """Return the seconds to go until a reset."""
    seconds = _number(text)
    if seconds is None:
        return None
    if seconds >= _EPOCH_MS:
        seconds /= 1000
    if seconds >= _EPOCH:
        seconds -= _now(date)
        if -_JUST_OVER <= seconds < 0:
            seconds = 0.0
    return seconds if 0 <= seconds <= _LONGEST_RESET else None


def _now(date: str) -> float:
    # By the server's own clock, if possible: it is what the server reckons its resets with. Cut to
    # whole seconds, it is early, and a wait that is reckoned with it not too short.
    moment = parse_http_date(date) or datetime.now(UTC)
    return moment.timestamp()
