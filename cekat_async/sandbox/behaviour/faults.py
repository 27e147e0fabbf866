"""Faults: scripted ones, and the probabilities of random ones."""

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
    """One fault, for one request. Build it with the class methods.

    Attributes:
        name: Its name in the log; empty for ``ok()``.
        kind: What the server does.
        code: The HTTP status, for faults that replace the reply.
        body: The body of such a reply, or raw bytes; ``None`` for the API's error envelope.
        headers: Headers of such a reply.
        seconds: A pause in seconds.
        keep: Fraction of the body that is sent, 0 to 1.
        size: Bytes that are sent between two pauses.
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
        """Do nothing, and draw no random fault."""
        return cls("", "ok")

    @classmethod
    def status(
        cls, code: int, *, body: Body = "json", headers: Mapping[str, str] | None = None
    ) -> Fault:
        """Reply with an error status.

        Args:
            code: The status, 100 to 599.
            body: The API's error envelope, a gateway's HTML page, or nothing.
            headers: Headers in addition to the usual ones, for example ``Retry-After``.

        Raises:
            ValueError: ``code`` is not a status, or ``body`` is not one of the three.
        """
        return _build_reply_fault("status", code, body, headers)

    @classmethod
    def raw(
        cls, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Fault:
        """Reply with any status, body and headers; the usual headers are not added.

        If ``headers`` has no ``Content-Type``, a body that starts with ``<`` is sent as HTML and
        any other as JSON.

        Raises:
            ValueError: ``status`` is not a status.
        """
        require_integer("status", status, minimum=_MIN_STATUS, maximum=_MAX_STATUS)
        kind = "text/html; charset=utf-8" if body.lstrip()[:1] == b"<" else "application/json"
        given = dict(headers or {})
        if "content-type" not in (name.lower() for name in given):
            given["Content-Type"] = kind
        return cls("raw", "raw", code=status, body=body, headers=given)

    @classmethod
    def wire(cls, data: bytes) -> Fault:
        """Send ``data``, which need not be HTTP, and close the connection."""
        return cls("wire", "wire", body=data)

    @classmethod
    def drop(cls) -> Fault:
        """Close the connection before any byte of the reply."""
        return cls("drop", "drop")

    @classmethod
    def drop_mid_body(cls, keep: float = 0.5) -> Fault:
        """Announce the whole body, send the fraction ``keep`` of it, and close the connection."""
        return cls("drop_mid_body", "drop_mid_body", keep=keep)

    @classmethod
    def truncate(cls, keep: float = 0.5) -> Fault:
        """Send a complete HTTP reply whose JSON is truncated to the fraction ``keep``."""
        return cls("truncate", "truncate", keep=keep)

    @classmethod
    def malformed_record(cls) -> Fault:
        """Put one more record, which has no id, in front of the records of a page."""
        return cls("malformed_record", "malformed_record")

    @classmethod
    def delay(cls, seconds: float) -> Fault:
        """Send the usual reply ``seconds`` late; it is made when the request arrives."""
        return cls("delay", "delay", seconds=seconds)

    @classmethod
    def hang(cls) -> Fault:
        """Never reply; the client or the sandbox has to close the connection."""
        return cls("hang", "hang")

    @classmethod
    def trickle(cls, seconds: float = 0.01, *, size: int = 1) -> Fault:
        """Send the usual reply, but ``size`` bytes of the body at a time, ``seconds`` apart."""
        return cls("trickle", "trickle", seconds=seconds, size=size)


class Faults(msgspec.Struct, frozen=True):
    """Probability of each random fault; a request gets at most one.

    Args:
        drop: Probability, 0 to 1, that the connection closes before any byte.
        drop_mid_body: Probability that it closes after half of the body.
        error: Probability of an error: 500, 502, 503 and 504 in turn, with JSON, HTML or no body.
        truncate: Probability that half of the JSON is missing from a complete HTTP reply.
        too_many: Probability of a 429 that the quota does not explain.
        slow: Probability that the reply is ``slow_by`` seconds late.
        slow_by: The delay in seconds.
        retry_after: ``Retry-After`` of those 429s in seconds; ``None`` for no header.
        seed: Seed of the random faults.

    Raises:
        ValueError: A probability is outside 0 to 1, or their sum exceeds 1.
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
        """Return the name and the probability of each fault, in the order of drawing."""
        return (
            ("drop", self.drop),
            ("drop_mid_body", self.drop_mid_body),
            ("error", self.error),
            ("truncate", self.truncate),
            ("too_many", self.too_many),
            ("slow", self.slow),
        )

    def draws(self) -> Iterator[Fault]:
        """Yield the faults of all requests without end, the same ones for the same seed."""
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
