"""The options of a client. They are small frozen values that are checked at creation."""

from __future__ import annotations

import ipaddress
import math
import re
from typing import TypeGuard
from uuid import UUID

import msgspec

from cekat_async.errors import ConfigurationError

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_MAX_PAGE_BYTES",
    "RateLimit",
    "RetryPolicy",
    "Timeout",
    "is_host",
    "is_loopback",
    "require_count",
    "require_inbox_id",
    "require_seconds",
    "require_share",
    "require_switch",
    "require_text",
]

# Each function whose name begins with "require" returns a valid value, and raises
# ConfigurationError for an invalid value.

DEFAULT_BASE_URL = "https://api.cekat.ai"
DEFAULT_MAX_PAGE_BYTES = 8 * 1024 * 1024


def require_count(
    name: str, value: object, *, at_least: int = 1, at_most: int | None = None
) -> int:
    """Return ``value`` if it is a whole number in this range. A bool is not valid."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigurationError(
            f"{name} must be a whole number of at least {at_least}, not {value!r}"
        )
    if at_most is not None and value > at_most:
        raise ConfigurationError(f"{name} must be at most {at_most:,}")
    return value


def require_switch(name: str, value: object) -> bool:
    """Return ``value`` if it is ``True`` or ``False``. Python itself treats ``"false"`` as true."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, not {value!r}")
    return value


def require_text(name: str, value: object) -> str:
    """Return ``value`` if it is text that is not blank and that UTF-8 can encode."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be text that is not blank, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{name} cannot be sent as UTF-8: {error.reason}") from None
    return value


def require_inbox_id(name: str, value: object) -> str:
    """Return an inbox id as text. A :class:`uuid.UUID` is also valid."""
    return str(value) if isinstance(value, UUID) else require_text(name, value)


def require_seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return ``value`` if it is finite and above 0. With ``zero``, 0 is also valid."""
    wanted = "of at least 0" if zero else "above 0"
    if not _is_finite(value) or value < 0 or (value == 0 and not zero):
        raise ConfigurationError(
            f"{name} must be a finite number of seconds {wanted}, not {value!r}"
        )
    return value


def require_share(name: str, value: object) -> float:
    """Return ``value`` if it is a number above 0 and at most 1."""
    if not _is_finite(value) or not 0 < value <= 1:
        raise ConfigurationError(f"{name} must be a number above 0 and at most 1, not {value!r}")
    return value


def _is_finite(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # the number is too large for a float
        return False


# Values beyond these limits must be typos, because no clock could distinguish the requests.
_MOST_REQUESTS = 1_000_000_000
_SHORTEST_PER = 0.001


class RateLimit(msgspec.Struct, frozen=True):
    """The most requests that the client sends in any window of ``per`` seconds.

    You need not change the defaults. The client starts with 300 requests in 60 seconds, which is
    the quota of this endpoint for each IP address (docs/api.md#limits). It then learns from each
    reply how much the server really grants.

    Attributes:
        requests: Your own maximum. The client does not exceed it, whatever the server reports.
            Default ``None``: the client follows the server.
        per: The length of the window in seconds. Default 60. If the server reports a limit without
            the length of its window, the client assumes a window of at most this length, unless the
            replies show that the window is longer.
        per_day: The most requests of this client in any 24 hours. Default ``None``: the daily quota
            that the server reports.
        longest_hold: The longest pause in seconds that the client waits for. Default 900. A longer
            pause, for example after a used-up daily quota, ends calls immediately. The call that
            received the reply raises the error for its status. Other calls raise a
            :class:`~cekat_async.RateLimitError`. The error's ``resumes_at`` is the end of the
            pause. With ``None``, the client waits through any pause, but ``Timeout.request`` and
            ``Timeout.deadline`` still end the call.
        share: The fraction of the server's quota that the client uses, above 0 and at most 1. The
            client leaves the rest to other clients with the same IP address. ``share`` does not
            reduce ``requests``. Default 1.
        burst: The fraction of the limit, above 0 and at most 1, that the client may catch up on if
            it could not send for some time (for example, because the event loop was blocked). To
            catch up, the client sends at twice its pace. No window ever contains more requests than
            the limit. Default 0.25.
        trust_server: True to use the server's rate-limit headers. With ``False``, only ``requests``
            and refusals (429) set the rate. Default ``True``.

    Raises:
        ConfigurationError: ``requests`` or ``per_day`` is not a whole number from 1 to a billion,
            ``per`` (at least a millisecond) or ``longest_hold`` is not a finite number of seconds
            above 0, ``share`` or ``burst`` is not above 0 and at most 1, or ``trust_server`` is
            not a bool.

    Examples:
        >>> client = CekatClient(rate_limit=RateLimit(share=0.5))  # leave half to others
        >>> await client.aclose()
    """

    requests: int | None = None
    per: float = 60.0
    per_day: int | None = None
    longest_hold: float | None = 900.0
    share: float = 1.0
    burst: float = 0.25
    trust_server: bool = True

    def __post_init__(self) -> None:
        require_share("RateLimit.share", self.share)
        require_share("RateLimit.burst", self.burst)
        require_switch("RateLimit.trust_server", self.trust_server)
        require_seconds("RateLimit.per", self.per)
        if self.per < _SHORTEST_PER:
            raise ConfigurationError(f"RateLimit.per must be at least {_SHORTEST_PER} seconds")
        for name in ("requests", "per_day"):
            if (value := getattr(self, name)) is not None:
                require_count(f"RateLimit.{name}", value, at_most=_MOST_REQUESTS)
        if self.longest_hold is not None:
            require_seconds("RateLimit.longest_hold", self.longest_hold)


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for retries: how often the client retries a failed request, and when.

    The client retries transport failures, 408, 425, 429, 5xx, and a reply that is not JSON or is
    incomplete. It does not retry failures that a retry cannot fix, such as a rejected certificate,
    a proxy that refuses, or a page that is too large. It retries an unknown host twice, within two
    seconds.

    The backoff before the n-th retry is random: between half and all of
    ``min(backoff * 2**(n-1), backoff_max)`` seconds. The backoff is never shorter than the wait
    that the server asked for. If an idle connection was dropped, the client retries immediately
    over a new connection. ``Timeout.request`` limits all attempts and backoffs together. If a
    backoff would last longer than ``Timeout.request`` or ``Timeout.deadline`` allows, the call
    fails immediately.

    Attributes:
        attempts: The most attempts for one request, including the first. With 1, the client never
            retries. Default 8.
        backoff: The longest first backoff in seconds. Default 0.5.
        backoff_max: The longest backoff in seconds. Default 30.
        budget: The retry budget: the number of retries that all calls of one client may spend
            together. The budget keeps retries from multiplying the requests to a server that is
            failing. A retry after a lost response counts as two retries. A retry after a 429 (which
            the limiter paces) or after a dropped idle connection costs nothing. A call that
            succeeds refunds the cost of its retries. A call that succeeds at its first attempt adds
            a fifth of a retry. When the budget is used up, the client raises errors without a
            retry, and a note on the error says so. Default 100, which suits the default
            ``concurrency``. ``None`` means no limit.

    Raises:
        ConfigurationError: A value has the wrong type or is out of its range.

    Examples:
        >>> once = cekat.with_options(retry=RetryPolicy(attempts=1))  # never retry
        >>> page = await once.conversations.page()
    """

    attempts: int = 8
    backoff: float = 0.5
    backoff_max: float = 30.0
    budget: int | None = 100

    def __post_init__(self) -> None:
        require_count("RetryPolicy.attempts", self.attempts)
        if self.budget is not None:
            require_count("RetryPolicy.budget", self.budget)
        require_seconds("RetryPolicy.backoff", self.backoff, zero=True)
        require_seconds("RetryPolicy.backoff_max", self.backoff_max, zero=True)


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """The time limits for the parts of a call, in seconds.

    Attributes:
        connect: The time to connect to the server. Default 10.
        read: The time between two pieces of the response. Default 30.
        attempt: The time for one attempt, from the wait for a connection of the pool to the last
            byte. Default 60.
        request: The time for one request, counted from its first attempt: attempts, backoffs, and
            pauses that the server asks for. Time in the client's own queue does not count. In this
            queue, a request waits for the rate limit, for a shared budget, or for one of the
            ``concurrency`` slots. A pause that is longer than the remaining time ends the call
            immediately. Before its first attempt, a call waits through pauses of up to
            ``RateLimit.longest_hold``. Default 300. ``None`` means no limit.
        deadline: The time for one ``page()``, one ``get()``, or one page of a walk, including time
            in the queue. A pause that would last longer ends the call immediately. A call that
            waits in the queue for its part of the quota waits until the deadline. Default ``None``:
            no limit.

    Raises:
        ConfigurationError: A value is not a finite number above 0.

    Examples:
        >>> quick = cekat.with_options(timeout=Timeout(deadline=5))
        >>> page = await quick.conversations.page()
    """

    connect: float = 10.0
    read: float = 30.0
    attempt: float = 60.0
    request: float | None = 300.0
    deadline: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name not in {"request", "deadline"} or value is not None:
                require_seconds(f"Timeout.{name}", value)


_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
_LONGEST_NAME = 253


def is_host(host: str) -> bool:
    """Whether a host is a name that can be looked up, or a complete IP address.

    A host that ends in a number is an address. Resolvers also accept short and octal forms such as
    ``127.1``. This function and aiohttp reject these forms, because such a URL is easily misread.
    """
    if ":" in host or _ENDS_IN_NUMBER.fullmatch(host):
        return _parse_address(host) is not None
    name = host.removesuffix(".")
    return len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, name.split(".")))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    address = _parse_address(host)
    return address.is_loopback if address else host == "localhost"


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
