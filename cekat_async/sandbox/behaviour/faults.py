"""Scripted faults, and the probabilities of random faults."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from cekat_async.sandbox.seeded_hash import derive_key, hash_fraction
from cekat_async.sandbox.validation import require_choice, require_integer, require_number

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind: TypeAlias = Literal[
    "ok",
    "reply",
    "raw",
    "wire",
    "drop",
    "drop_mid_body",
    "truncate",
    "malformed_record",
    "delay",
    "hang",
    "trickle",
]
Body: TypeAlias = Literal["json", "html", "empty"]

_STATUSES: Final = (500, 502, 503, 504)
_BODIES: Final[tuple[Body, ...]] = ("json", "html", "empty")
_MIN_STATUS: Final = 100
_MAX_STATUS: Final = 599


class Fault(msgspec.Struct, frozen=True):
    """One fault for one request. Create it with the class methods.

    Attributes:
        name: The name of the fault in the log. Empty for ``ok()``.
        kind: The kind of fault, which decides what the server does.
        code: The HTTP status, for a fault that replaces the reply.
        body: The body of such a reply, or raw bytes to send. ``None`` for the API's own error.
        headers: The headers of such a reply.
        seconds: The delay in seconds.
        keep: The fraction of the body that is sent, from 0 to 1.
        size: The number of bytes that are sent between two delays.
    """

    name: str
    kind: Kind
    code: int = 0
    body: bytes | None = b""
    headers: Mapping[str, str] = {}
    seconds: float = 0.0
    keep: float = 0.5
    size: int = 1

    def __post_init__(self) -> None:
        require_number("seconds", self.seconds)
        require_number("keep", self.keep, maximum=1.0)
        require_integer("size", self.size, minimum=1)

    @classmethod
    def ok(cls) -> Fault:
        """Return a fault that does nothing. The request does not get a random fault, either.

        Examples:
            >>> sandbox.fail_next(Fault.ok())
            >>> (await cekat.conversations.page()).response.attempts
            1
        """
        return cls("", "ok")

    @classmethod
    def status(
        cls, code: int, *, body: Body = "json", headers: Mapping[str, str] | None = None
    ) -> Fault:
        """Return a fault that replies with an error status.

        Args:
            code: The status, 100 to 599.
            body: ``"json"`` for the API's own error (default), ``"html"`` for the page of a
                gateway, or ``"empty"``.
            headers: Headers in addition to the usual ones, for example ``Retry-After``.

        Raises:
            ValueError: ``code`` is not a status, or ``body`` is not one of these three texts.

        Examples:
            >>> sandbox.fail_next(Fault.status(503, body="html"))
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        return _build_reply_fault("status", code, body, headers)

    @classmethod
    def raw(
        cls, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Fault:
        """Return a fault that replies with any status, body and headers.

        The server does not add its usual headers. If ``headers`` has no ``Content-Type``, a body
        that starts with ``<`` is sent as HTML, and any other body as JSON.

        Args:
            status: The HTTP status, 100 to 599. Default 200.
            body: The body. Default: empty.
            headers: All headers of the reply. Default: only ``Content-Type``.

        Raises:
            ValueError: ``status`` is not from 100 to 599.

        Examples:
            >>> sandbox.fail_next(Fault.raw(200, b"<html>"))
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        require_integer("status", status, minimum=_MIN_STATUS, maximum=_MAX_STATUS)
        kind = "text/html; charset=utf-8" if body.lstrip()[:1] == b"<" else "application/json"
        given = dict(headers or {})
        if "content-type" not in (name.lower() for name in given):
            given["Content-Type"] = kind
        return cls("raw", "raw", code=status, body=body, headers=given)

    @classmethod
    def wire(cls, data: bytes) -> Fault:
        """Return a fault that sends the given bytes and closes the connection.

        Args:
            data: The bytes to send. They need not be HTTP.

        Examples:
            >>> sandbox.fail_next(Fault.wire(b"nonsense"))
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        return cls("wire", "wire", body=data)

    @classmethod
    def drop(cls) -> Fault:
        """Return a fault that closes the connection before any byte of the reply.

        Examples:
            >>> sandbox.fail_next(Fault.drop())
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        return cls("drop", "drop")

    @classmethod
    def drop_mid_body(cls, keep: float = 0.5) -> Fault:
        """Return a fault that closes the connection before the end of the body.

        Args:
            keep: The fraction of the body that is sent, 0 to 1. Default 0.5.

        Raises:
            ValueError: ``keep`` is not from 0 to 1.

        Examples:
            >>> sandbox.fail_next(Fault.drop_mid_body())
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        return cls("drop_mid_body", "drop_mid_body", keep=keep)

    @classmethod
    def truncate(cls, keep: float = 0.5) -> Fault:
        """Return a fault that truncates the JSON of an otherwise complete HTTP reply.

        Args:
            keep: The fraction of the JSON that is sent, 0 to 1. Default 0.5.

        Raises:
            ValueError: ``keep`` is not from 0 to 1.

        Examples:
            >>> sandbox.fail_next(Fault.truncate())
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        return cls("truncate", "truncate", keep=keep)

    @classmethod
    def malformed_record(cls) -> Fault:
        """Return a fault that adds a record without an id in front of the records of a page.

        Examples:
            >>> sandbox.fail_next(Fault.malformed_record())
            >>> page = await cekat.conversations.page(on_malformed=lambda record: None)
            >>> page.malformed_records[0].reason
            'it has no readable id'
        """
        return cls("malformed_record", "malformed_record")

    @classmethod
    def delay(cls, seconds: float) -> Fault:
        """Return a fault that delays the reply. The reply is built when the request arrives.

        Args:
            seconds: The delay.

        Raises:
            ValueError: ``seconds`` is not a number of at least 0.

        Examples:
            >>> sandbox.fail_next(Fault.delay(0.1))
            >>> (await cekat.conversations.page()).response.attempts
            1
        """
        return cls("delay", "delay", seconds=seconds)

    @classmethod
    def hang(cls) -> Fault:
        """Return a fault that never replies. The client or the sandbox closes the connection.

        Examples:
            >>> sandbox.fail_next(Fault.hang())
            >>> quick = cekat.with_options(timeout=Timeout(read=0.1))
            >>> (await quick.conversations.page()).response.attempts
            2
        """
        return cls("hang", "hang")

    @classmethod
    def trickle(cls, seconds: float = 0.01, *, size: int = 1) -> Fault:
        """Return a fault that sends the body of the usual reply in small pieces.

        Args:
            seconds: The time between two pieces. Default 0.01.
            size: The number of bytes in a piece. Default 1.

        Raises:
            ValueError: An argument is wrong.

        Examples:
            >>> sandbox.fail_next(Fault.trickle(size=10_000))
            >>> (await cekat.conversations.page()).response.attempts
            1
        """
        return cls("trickle", "trickle", seconds=seconds, size=size)


class Faults(msgspec.Struct, frozen=True):
    """The probabilities of random faults. A request gets at most one fault.

    All probabilities are from 0 to 1, and 0 by default.

    Attributes:
        drop: The probability that the connection closes before any byte of the reply.
        drop_mid_body: The probability that the connection closes after half of the body.
        error: The probability of an error: 500, 502, 503 and 504 in turn, with JSON, HTML or no
            body.
        truncate: The probability that the second half of the JSON is missing, although the HTTP
            reply is complete.
        too_many: The probability of a 429 even though the quota is not used up.
        slow: The probability that a reply is late.
        slow_by: The delay of a late reply in seconds. Default 0.05.
        retry_after: The ``Retry-After`` header of these 429s in seconds, or ``None`` for no header.
            Default 0.
        seed: The seed of the random faults. Default 0.

    Raises:
        ValueError: A probability is not from 0 to 1, or the sum of probabilities is above 1.

    Examples:
        >>> sandbox = Sandbox(faults=Faults(error=0.1, drop=0.05))
    """

    drop: float = 0.0
    drop_mid_body: float = 0.0
    error: float = 0.0
    truncate: float = 0.0
    too_many: float = 0.0
    slow: float = 0.0
    slow_by: float = 0.05
    retry_after: float | None = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, probability in self.probabilities():
            require_number(name, probability, maximum=1.0)
        together = fsum(probability for _, probability in self.probabilities())
        require_number("all probabilities together", together, maximum=1.0)
        require_number("slow_by", self.slow_by)
        require_number("retry_after", self.retry_after or 0.0)
        require_integer("seed", self.seed, minimum=-(1 << 63))

    def probabilities(self) -> tuple[tuple[str, float], ...]:
        """Return the name and the probability of each fault, in the order in which they are drawn.

        Examples:
            >>> Faults(drop=0.5).probabilities()[0]
            ('drop', 0.5)
        """
        return (
            ("drop", self.drop),
            ("drop_mid_body", self.drop_mid_body),
            ("error", self.error),
            ("truncate", self.truncate),
            ("too_many", self.too_many),
            ("slow", self.slow),
        )

    def draws(self) -> Iterator[Fault]:
        """Yield a fault for each request, without end. The same seed gives the same faults.

        Examples:
            >>> next(Faults(drop=1.0).draws()).name
            'drop'
        """
        key = derive_key(self.seed, "faults")
        errors = number = 0
        while True:
            name = self._pick(hash_fraction(key, number))
            number += 1
            yield self._build(name, errors)
            errors += name == "error"

    def _pick(self, drawn: float) -> str:
        for name, probability in self.probabilities():
            drawn -= probability
            if drawn < 0:
                return name
        return "ok"

    def _build(self, name: str, errors: int) -> Fault:
        if name == "error":
            return _build_reply_fault(name, _STATUSES[errors % 4], _BODIES[errors % 3], None)
        after = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        return {
            "drop": Fault.drop(),
            "drop_mid_body": Fault.drop_mid_body(),
            "truncate": Fault.truncate(),
            "too_many": _build_reply_fault("too_many", 429, "json", after),
            "slow": Fault("slow", "delay", seconds=self.slow_by),
        }.get(name, Fault.ok())


def _build_reply_fault(
    name: str, code: int, body: Body, headers: Mapping[str, str] | None
) -> Fault:
    require_integer("code", code, minimum=_MIN_STATUS, maximum=_MAX_STATUS)
    require_choice("body", body, _BODIES)
    page = f"<html><head><title>{code}</title></head><body><h1>{code}</h1></body></html>\n"
    content = {"json": None, "html": page.encode(), "empty": b""}[body]
    return Fault(name, "reply", code=code, body=content, headers=headers or {})
