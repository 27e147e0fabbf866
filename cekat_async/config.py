"""The options of a client: small frozen values, checked when they are made."""

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

# The functions that begin with "require" raise ConfigurationError if a value is not as they say.

DEFAULT_BASE_URL = "https://api.cekat.ai"
DEFAULT_MAX_PAGE_BYTES = 8 * 1024 * 1024


def require_count(
    name: str, value: object, *, at_least: int = 1, at_most: int | None = None
) -> int:
    """Return ``value`` if it is a whole number in this range, and no bool."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigurationError(
            f"{name} must be a whole number of at least {at_least}, not {value!r}"
        )
    if at_most is not None and value > at_most:
        raise ConfigurationError(f"{name} must be at most {at_most:,}")
    return value


def require_switch(name: str, value: object) -> bool:
    """Return ``value`` if it is ``True`` or ``False``: any text is true, ``"false"`` too."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, not {value!r}")
    return value


def require_text(name: str, value: object) -> str:
    """Return ``value`` if it is text with something in it that can be sent as UTF-8."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be text with something in it, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{name} cannot be sent as UTF-8: {error.reason}") from None
    return value


def require_inbox_id(name: str, value: object) -> str:
    """Return an inbox id as text; a :class:`uuid.UUID` is one, too."""
    return str(value) if isinstance(value, UUID) else require_text(name, value)


def require_seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return ``value``, or raise: it must be finite, and above 0 or, with ``zero``, at least 0."""
    wanted = "of at least 0" if zero else "above 0"
    if not _is_finite(value) or value < 0 or (value == 0 and not zero):
        raise ConfigurationError(
            f"{name} must be a finite number of seconds {wanted}, not {value!r}"
        )
    return value


def require_share(name: str, value: object) -> float:
    """Return ``value`` if it is a part of something: above 0, and at most 1."""
    if not _is_finite(value) or not 0 < value <= 1:
        raise ConfigurationError(f"{name} must be a number above 0, and at most 1, not {value!r}")
    return value


def _is_finite(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


# Beyond these a clock cannot tell requests apart; they are slips of the keyboard.
_MOST_REQUESTS = 1_000_000_000
_SHORTEST_PER = 0.001


class RateLimit(msgspec.Struct, frozen=True):
    """How many requests the client sends at most, in any window of ``per`` seconds.

    It needs no setting. The client begins with the documented quota of this endpoint, 300 requests
    in 60 seconds per IP address, and learns from each reply what the server really grants.

    Attributes:
        requests: A ceiling of your own, which nothing that the server says raises. Default
            ``None``: the client follows the server.
        per: Seconds of the window. Default 60. If the server states a limit without saying for how
            long, this is the longest window that is meant, unless its replies show a longer one.
        per_day: Requests at the most in any 24 hours, as far as this client has seen them. Default
            ``None``: what the server says of its day.
        longest_hold: The longest pause in seconds that the client waits for. A longer one, such as
            that after a used-up daily quota, ends calls at once: with
            :class:`~cekat_async.RateLimitError`, or for the call that was answered so, with the
            error for its status. ``resumes_at`` of the error says when the pause ends. Default
            900; ``None`` to wait however long it takes (``Timeout.request`` and
            ``Timeout.deadline`` still end it).
        share: The part of what the server grants that the client uses, above 0 and at most 1. The
            rest is left to others on the same address. It does not reduce ``requests``. Default 1.
        burst: The part of the limit, above 0 and at most 1, that the client makes up after a time
            in which it could not send, such as a blocked event loop. It does so at twice its pace,
            and no window ever holds more than the limit. Default 0.25.
        trust_server: Whether to read the server's rate-limit headers. With ``False``, only
            ``requests`` and refusals (429) decide. Default ``True``.

    Raises:
        ConfigurationError: ``requests`` or ``per_day`` is not a whole number from 1 to a billion,
            ``per`` (a millisecond at least) or ``longest_hold`` is not a finite number of
            seconds above 0, ``share`` or ``burst`` is not above 0 and at most 1, or
            ``trust_server`` is not a bool.
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
    """How often the client retries a failed request, and how long it waits before each retry.

    The client retries transport failures, 408, 425, 429, 5xx, and an answer that is not JSON or is
    cut short. It does not retry what a retry cannot fix: a rejected certificate, a proxy that
    refuses, a page that is too large. It asks for an unknown host twice more, within two seconds.

    The n-th wait is drawn evenly from the upper half of ``backoff * 2**(n-1)`` seconds, at most
    ``backoff_max``; it is never shorter than what the server asked for. After an idle connection
    was dropped there is no wait: the next attempt uses a new connection. ``Timeout.request``
    limits all attempts and backoffs together. A backoff that would outlast it, or
    ``Timeout.deadline``, is not begun.

    Attributes:
        attempts: Requests at the most, the first included (1: never try again). Default 8.
        backoff: Seconds of the first wait at the most. Default 0.5.
        backoff_max: Seconds of any wait at the most. Default 30.
        budget: Retries that the calls of one client may spend together on calls that have not
            succeeded, so that a server that is down does not get many times as many requests. A
            retry after a lost answer costs two; after a 429 (the limiter paces it) or the drop of
            an idle connection, nothing. A call that succeeds gives back what its retries cost; one
            that succeeds at its first attempt refills a fifth of a retry. When the budget is used
            up, failures are raised without a retry, with a note that says so. Default 100, which
            suits the default concurrency; ``None`` for no bound.

    Raises:
        ConfigurationError: A value is of the wrong type or out of its range.
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
    """How long one request may take, in seconds.

    Attributes:
        connect: To connect to the server. Default 10.
        read: Between two pieces of the response. Default 30.
        attempt: For one attempt, from the pool to the last byte. Default 60.
        request: For the server's part of one request, from its first attempt on: attempts,
            backoffs, and pauses that the server asks for. The time in the client's own queue does
            not count: waiting for the rate limit, for a shared budget, or for one of
            ``concurrency`` slots. A pause that is longer than what is left ends the call at once.
            Before its first attempt, a call waits through pauses of up to
            ``RateLimit.longest_hold``. Default 300; ``None`` for no limit.
        deadline: For one page from the call on, including the queue. Default ``None``, which is no
            limit.

    Raises:
        ConfigurationError: A value is not a finite number above 0.
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
    """Whether a host is a name that can be looked up, or an address that is written in full.

    What ends in a number is an address. Resolvers also take short and octal forms of those, such
    as ``127.1``, and then a URL does not lead where it seems to lead; aiohttp refuses them.
    """
    if ":" in host or _ENDS_IN_NUMBER.fullmatch(host):
        return _parse_address(host) is not None
    name = host.removesuffix(".")
    return len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, name.split(".")))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, so that what goes there stays here."""
    address = _parse_address(host)
    return address.is_loopback if address else host == "localhost"


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
