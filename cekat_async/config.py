"""The options of a client: small frozen values, checked when they are made."""

from __future__ import annotations

import ipaddress
import math
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

import msgspec

from cekat_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_MAX_PAGE_BYTES",
    "ClientConfig",
    "RateLimit",
    "RetryPolicy",
    "Secret",
    "Timeout",
    "client_config",
    "is_host",
    "is_loopback",
    "require_count",
    "require_inbox_id",
    "require_share",
    "require_switch",
    "require_text",
]

DEFAULT_BASE_URL = "https://api.cekat.ai"
KEY_VARIABLE = "CEKAT_API_KEY"
BASE_URL_VARIABLE = "CEKAT_BASE_URL"

DEFAULT_MAX_PAGE_BYTES = 8 * 1024 * 1024

_OWN_PATH = re.compile(r"/api(/+(conversations|inboxes)\b.*)?$")


def require_count(
    name: str, value: object, *, at_least: int = 1, at_most: int | None = None
) -> int:
    """Return ``value`` if it is a whole number of at least ``at_least``, and at most ``at_most``.

    Raises:
        ConfigurationError: It is not, or it is a bool, which Python takes for a number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigurationError(
            f"{name} must be a whole number of at least {at_least}, not {value!r}"
        )
    if at_most is not None and value > at_most:
        raise ConfigurationError(f"{name} must be at most {at_most:,}")
    return value


def require_switch(name: str, value: object) -> bool:
    """Return ``value`` if it is ``True`` or ``False``: any text is true, ``"false"`` too.

    Raises:
        ConfigurationError: It is not.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, not {value!r}")
    return value


def require_text(name: str, value: object) -> str:
    """Return ``value`` if it is text with something in it.

    Raises:
        ConfigurationError: It is not, or it cannot be sent as UTF-8.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be text with something in it, not {value!r}")
    if not value.isascii():
        _require_encodable(name, value)
    return value


def require_inbox_id(name: str, value: object) -> str:
    """Return an inbox id as text; a :class:`uuid.UUID` is one, too.

    Raises:
        ConfigurationError: It is neither a UUID nor text with something in it.
    """
    return str(value) if isinstance(value, UUID) else require_text(name, value)


def _require_encodable(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{name} cannot be sent as UTF-8: {error.reason}") from None


def _require_seconds(name: str, value: object, *, zero: bool = False) -> None:
    wanted = "of at least 0" if zero else "above 0"
    if not _is_finite(value) or value < 0 or (value == 0 and not zero):
        raise ConfigurationError(
            f"{name} must be a finite number of seconds {wanted}, not {value!r}"
        )


def require_share(name: str, value: object) -> float:
    """Return ``value`` if it is a part of something: above 0, and at most 1.

    Raises:
        ConfigurationError: It is not.
    """
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

    It needs no setting: it begins with the documented quota of this endpoint, 300 in 60 seconds
    per IP address (API.md), and follows what the server says of it, up and down.

    Attributes:
        requests: A ceiling of your own, which nothing that the server says raises. Default
            ``None``: the server's word alone decides.
        per: Seconds of the window. Default 60. Without a ceiling of one's own, a
            ``RateLimit-Policy`` of the server's outdoes it.
        per_day: Requests at the most in any 24 hours, as far as this client has seen them. Default
            ``None``: what the server says of its day.
        longest_hold: The longest pause in seconds that the client waits for, whatever the status
            is with which the server asked for it. A longer pause, such as that after a used-up
            daily quota, ends calls at once: with :class:`~cekat_async.RateLimitError`, or for the
            call that was answered so, with the error for that status. ``resumes_at`` of the error
            says when the pause ends. Default 900; ``None`` to wait however long it takes
            (``Timeout.deadline`` still ends it).

    Raises:
        ConfigurationError: ``requests`` or ``per_day`` is not a whole number from 1 to a billion,
            or ``per`` (a millisecond at least) or ``longest_hold`` is not a finite number of
            seconds above 0.
    """

    requests: int | None = None
    per: float = 60.0
    per_day: int | None = None
    longest_hold: float | None = 900.0

    def __post_init__(self) -> None:
        _require_seconds("RateLimit.per", self.per)
        if self.per < _SHORTEST_PER:
            raise ConfigurationError(f"RateLimit.per must be at least {_SHORTEST_PER} seconds")
        for name in ("requests", "per_day"):
            if (value := getattr(self, name)) is not None:
                require_count(f"RateLimit.{name}", value, at_most=_MOST_REQUESTS)
        if self.longest_hold is not None:
            _require_seconds("RateLimit.longest_hold", self.longest_hold)


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often the client retries a failed request, and how long it waits before each retry.

    The client retries transport failures, 408, 425, 429, 5xx, and an answer that is not JSON or is
    cut short. It does not retry what a retry cannot fix: a rejected certificate, a proxy that
    refuses, a page that is too large. It asks for an unknown host twice more, within two seconds.

    The n-th wait is drawn evenly from the upper half of ``backoff * 2**(n-1)`` seconds, at most
    ``backoff_max``; it is never shorter than what the server asked for. After an idle connection
    was dropped there is no wait: the next attempt uses a new connection. ``Timeout.deadline``
    bounds all attempts and waits together.

    Attributes:
        attempts: Requests at the most, the first included (1: never try again). Default 8.
        backoff: Seconds of the first wait at the most. Default 0.5.
        backoff_max: Seconds of any wait at the most. Default 30.
        budget: Retries that the calls of one client may spend together on calls that have not
            succeeded, so that a server that is down does not get many times as many requests as
            one that is up. A retry after a lost answer costs two, after a 429 nothing (the limiter
            paces it), and after the drop of an idle connection nothing. A call that succeeds gives
            back what its retries cost; one that succeeds at its first attempt refills a fifth of
            a retry. When the budget is used up, failures are raised without a retry, and a note on
            the error says so. Default 100, which suits the default concurrency; ``None`` for no
            bound.

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
        _require_seconds("RetryPolicy.backoff", self.backoff, zero=True)
        _require_seconds("RetryPolicy.backoff_max", self.backoff_max, zero=True)


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """How long one request may take, in seconds.

    Attributes:
        connect: To reach the server. Default 10.
        read: Between two pieces of the answer. Default 30.
        attempt: For one attempt, from the pool to the last byte. Default 60.
        deadline: For all attempts and all waits (pace, holds, backoff) together. Default 300;
            ``None`` for no bound.

    Raises:
        ConfigurationError: A value is not a finite number above 0.
    """

    connect: float = 10.0
    read: float = 30.0
    attempt: float = 60.0
    deadline: float | None = 300.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name != "deadline" or value is not None:
                _require_seconds(f"Timeout.{name}", value)


_SHORTEST_SECRET = 8
# Characters of a secret that are looked for. A pattern for all of a long one takes long to compile.
_PROBE = 40
# Characters that one character of a secret may take in a text, as in "&#123;".
_LONGEST_SPELLING = 8


def _spelled(secret: str) -> str:
    """Return a pattern for a text however a server spells it: in JSON, in a URL, in HTML."""
    return "".join(
        rf"(?:\\?{re.escape(c)}|(?i:\\u00{ord(c):02x}|%{ord(c):02x}|&#{ord(c)};|&#x{ord(c):x};))"
        for c in secret
    )


def _end_of_echo(rest: list[re.Pattern[str]], text: str, at: int) -> int:
    """Return where an echo ends whose first :data:`_PROBE` characters end at ``at``."""
    for character in rest:
        if not (found := character.match(text, at)):
            break
        at = found.end()
    return at


class Secret:
    """A text that shows itself only when asked: not in ``repr``, ``str``, pickles or tracebacks."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def redact_text(self, text: str) -> str:
        """Return ``text`` without the secret, which a server may have echoed."""
        if len(self._value) < _SHORTEST_SECRET:
            return text  # it is part of half of all texts, and keeps nobody out
        pieces, at = list[str](), 0
        rest: list[re.Pattern[str]] = []
        for found in re.finditer(_spelled(self._value[:_PROBE]), text):
            if found.start() >= at:
                # Compiled once: doing it for each echo blocked the event loop for 300 ms
                # (benchmarks/bench_blocking.py, error-nearly-the-key).
                rest = rest or [re.compile(_spelled(c)) for c in self._value[_PROBE:]]
                pieces += [text[at : found.start()], "***"]
                at = _end_of_echo(rest, text, found.end())
        return "".join([*pieces, text[at:]])

    def redact(self, body: bytes) -> bytes:
        """Return ``body`` without the secret."""
        # Each byte is a character of Latin-1, and the secret is ASCII.
        return self.redact_text(body.decode("latin-1")).encode("latin-1")

    def excerpt(self, body: bytes, most: int) -> bytes:
        """Return the first ``most`` bytes of ``body``, without the secret.

        The body is cut before it is redacted, because redacting megabytes takes seconds.
        """
        if len(body) <= most:
            return self.redact(body)
        # The cut may leave the beginning of the secret at the end, so that end is dropped.
        margin = _LONGEST_SPELLING * len(self._value)
        redacted = self.redact(body[: most + margin])
        return redacted[: max(0, len(redacted) - margin)][:most]

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> Any:
        raise TypeError("a secret does not pickle")


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All options of one client, checked. Its ``repr`` does not show the key."""

    api_key: Secret
    base_url: str
    retry: RetryPolicy
    timeout: Timeout
    concurrency: int
    max_page_bytes: int
    trust_env: bool

    @property
    def account(self) -> str:
        """A name for the account: its host, and a few digits that follow from the key."""
        digest = blake2b(self.api_key.reveal().encode(), digest_size=6, person=b"cekat_async")
        return f"{self.base_url} #{digest.hexdigest()}"


def client_config(
    *,
    api_key: str | None,
    base_url: str | None,
    environ: Mapping[str, str],
    retry: RetryPolicy,
    timeout: Timeout,
    concurrency: int,
    trust_env: bool,
    allow_http: bool,
    max_page_bytes: int = DEFAULT_MAX_PAGE_BYTES,
) -> ClientConfig:
    """Return the checked options; what is ``None`` of key and base URL comes from ``environ``.

    Raises:
        ConfigurationError: Something is missing or wrong; the message says what to do.
    """
    for name, value, kind, wanted in (
        ("retry", retry, RetryPolicy, "a RetryPolicy"),
        ("timeout", timeout, Timeout, "a Timeout"),
    ):
        if not isinstance(value, kind):
            raise ConfigurationError(f"{name} must be {wanted}, not {value!r}")
    require_switch("allow_http", allow_http)
    return ClientConfig(
        api_key=_checked_key(api_key if api_key is not None else environ.get(KEY_VARIABLE)),
        base_url=_checked_base_url(
            # Given but empty is a mistake; a variable that is set to nothing counts as not set.
            (environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL) if base_url is None else base_url,
            allow_http=allow_http,
        ),
        retry=retry,
        timeout=timeout,
        concurrency=require_count("concurrency", concurrency),
        max_page_bytes=require_count("max_page_bytes", max_page_bytes),
        trust_env=require_switch("trust_env", trust_env),
    )


def _checked_key(key: object) -> Secret:
    # None of these messages shows the key: it is wrong in one place and right in another.
    if key is None:
        raise ConfigurationError(f"no API key: pass api_key=… or set {KEY_VARIABLE}")
    if not isinstance(key, str):
        raise ConfigurationError(f"the API key must be text, not {type(key).__name__}")
    if not key.strip():
        raise ConfigurationError(f"the API key is empty: check api_key=… or {KEY_VARIABLE}")
    if not (key.isascii() and key.isprintable()) or key != key.strip():
        raise ConfigurationError(
            "the API key has a line break, a blank at an end, or a character that no HTTP header "
            "can carry: copy it again, without what surrounds it"
        )
    return Secret(key)


def _checked_base_url(base_url: object, *, allow_http: bool) -> str:
    text = require_text("base_url", base_url).strip()
    # First of all, and without the text: the other messages show it, and this is a password.
    if "@" in text:
        raise ConfigurationError("base_url must not hold a user name or password (nor any '@')")
    if "?" in text or "#" in text:
        raise ConfigurationError("base_url must not hold a query or fragment")
    parts = _split(text)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(f"base_url {text!r} would send the key unencrypted").advise(
            "write https://, or pass {option}", allow_http=True
        )
    return f"{parts.scheme}://{parts.netloc}{_checked_path(text, parts.path)}"


def _split(text: str) -> SplitResult:
    example = f"write it as {DEFAULT_BASE_URL!r}"
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ConfigurationError(f"base_url holds a blank or a control character; {example}")
    if not text.isascii():
        raise ConfigurationError(
            f"base_url {text!r} is not ASCII: write its host as xn--… and its path as %…"
        )
    try:
        parts = urlsplit(text)
        port_is_bad = parts.port == 0
    except ValueError as error:
        raise ConfigurationError(f"base_url {text!r} is not a URL ({error}); {example}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port_is_bad:
        raise ConfigurationError(f"base_url {text!r} needs a scheme and a host; {example}")
    if not is_host(parts.hostname):
        raise ConfigurationError(
            f"base_url {text!r} names no valid host: write a full name, or an IP address with all "
            "of its numbers"
        )
    return parts


def _checked_path(text: str, path: str) -> str:
    # A prefix is fine (a gateway may want one, and call it /api/cekat), but the API's own path
    # comes behind it.
    prefix = path.rstrip("/")
    if _OWN_PATH.search(prefix):
        raise ConfigurationError(
            f"base_url {text!r} must end before the API's own path: leave '/api' and what "
            "follows away"
        )
    return prefix


_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
_LONGEST_NAME = 253


def is_host(host: str) -> bool:
    """Whether a host is a name that can be looked up, or an address that is written in full.

    What ends in a number is an address. Resolvers also take short and octal forms of those, such
    as ``127.1``, and then a URL does not lead where it seems to lead; aiohttp refuses them.
    """
    if ":" in host or _ENDS_IN_NUMBER.fullmatch(host):
        return _is_address(host)
    name = host.removesuffix(".")
    return len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, name.split(".")))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, so that what goes there stays here."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
