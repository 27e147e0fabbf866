"""Faults: single ones for a script, and the chances of random ones."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from . import checks
from .mixing import fraction, subkey

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind: TypeAlias = Literal[
    "ok", "reply", "raw", "wire", "drop", "drop_mid_body", "truncate", "delay", "hang", "trickle"
]
Body: TypeAlias = Literal["json", "html", "empty"]

_STATUSES: Final = (500, 502, 503, 504)
_BODIES: Final[tuple[Body, ...]] = ("json", "html", "empty")
_ERROR_LEAST: Final = 100
_ERROR_MOST: Final = 599


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong with one request. Build it with the class methods.

    Attributes:
        name: what the log calls it; empty for `ok()`.
        kind: how the server acts it out.
        code: the HTTP status, for faults that are a reply of their own.
        body: the body or bytes of such a reply; `None` for the API's own error envelope.
        headers: its headers.
        seconds: a pause in seconds.
        keep: share of the body that is sent, 0 to 1.
        size: bytes sent between two pauses.
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
        checks.number("seconds", self.seconds)
        checks.number("keep", self.keep, most=1.0)
        checks.whole("size", self.size, least=1)

    @classmethod
    def ok(cls) -> Fault:
        """Nothing goes wrong, and no random fault is drawn."""
        return cls("", "ok")

    @classmethod
    def status(
        cls, code: int, *, body: Body = "json", headers: Mapping[str, str] | None = None
    ) -> Fault:
        """Answer with an error status.

        Args:
            code: the status, 100 to 599.
            body: the API's error envelope, a gateway's HTML page, or nothing.
            headers: headers on top of the usual ones, `Retry-After` for instance.

        Raises:
            ValueError: `code` is no status, or `body` is not one of the three.
        """
        return _reply("status", code, body, headers)

    @classmethod
    def raw(
        cls, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Fault:
        """Answer with any reply at all.

        Without a `Content-Type` among `headers`, a body that starts with `<` is called HTML and
        any other JSON. None of the usual headers (request id, quota) are added.

        Raises:
            ValueError: `status` is no status.
        """
        checks.whole("status", status, least=_ERROR_LEAST, most=_ERROR_MOST)
        kind = "text/html; charset=utf-8" if body.lstrip()[:1] == b"<" else "application/json"
        given = dict(headers or {})
        if "content-type" not in (name.lower() for name in given):
            given["Content-Type"] = kind
        return cls("raw", "raw", code=status, body=body, headers=given)

    @classmethod
    def wire(cls, data: bytes) -> Fault:
        """Send `data` as it is, which need not be HTTP, and close the connection."""
        return cls("wire", "wire", body=data)

    @classmethod
    def drop(cls) -> Fault:
        """Close the connection before any byte of a reply."""
        return cls("drop", "drop")

    @classmethod
    def drop_mid_body(cls, keep: float = 0.5) -> Fault:
        """Announce the whole body, send the share `keep` of it, and close the connection."""
        return cls("drop_mid_body", "drop_mid_body", keep=keep)

    @classmethod
    def truncate(cls, keep: float = 0.5) -> Fault:
        """Send a whole HTTP reply whose JSON is cut to the share `keep` of its bytes."""
        return cls("truncate", "truncate", keep=keep)

    @classmethod
    def delay(cls, seconds: float) -> Fault:
        """Answer well, `seconds` late, with what was so when the request arrived."""
        return cls("delay", "delay", seconds=seconds)

    @classmethod
    def hang(cls) -> Fault:
        """Never answer, until the client or the sandbox closes the connection."""
        return cls("hang", "hang")

    @classmethod
    def trickle(cls, seconds: float = 0.01, *, size: int = 1) -> Fault:
        """Answer well, but send the body `size` bytes at a time, `seconds` apart."""
        return cls("trickle", "trickle", seconds=seconds, size=size)


class Faults(msgspec.Struct, frozen=True):
    """How likely each fault is for each request; at most one is drawn.

    Args:
        drop: chance, 0 to 1, that the connection closes before any byte.
        drop_mid_body: chance that it closes after half of the body.
        error: chance of 500, 502, 503 and 504 with a body in JSON, HTML or nothing, in turn.
        truncate: chance that the JSON is cut in half in a reply that is otherwise whole.
        too_many: chance of a 429 for which the quota has no reason.
        slow: chance that the answer comes `slow_by` seconds late.
        slow_by: that delay in seconds.
        retry_after: what the `Retry-After` of those 429s says, in seconds; `None` for none.
        seed: seed of the draws.

    Raises:
        ValueError: a chance is outside 0 to 1, or all of them together exceed 1.
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
        for name, chance in self.chances():
            checks.number(name, chance, most=1.0)
        together = fsum(chance for _, chance in self.chances())
        checks.number("all chances together", together, most=1.0)
        checks.number("slow_by", self.slow_by)
        checks.number("retry_after", self.retry_after or 0.0)
        checks.whole("seed", self.seed, least=-(1 << 63))

    def chances(self) -> tuple[tuple[str, float], ...]:
        """Return the name and the chance of each fault, in the order they are drawn in."""
        return (
            ("drop", self.drop),
            ("drop_mid_body", self.drop_mid_body),
            ("error", self.error),
            ("truncate", self.truncate),
            ("too_many", self.too_many),
            ("slow", self.slow),
        )

    def draws(self) -> Iterator[Fault]:
        """Yield the fault of each request in turn, for ever; the same ones for the same seed."""
        key = subkey(self.seed, "faults")
        errors = number = 0
        while True:
            name = self._pick(fraction(key, number))
            number += 1
            yield self._build(name, errors)
            errors += name == "error"

    def _pick(self, drawn: float) -> str:
        for name, chance in self.chances():
            drawn -= chance
            if drawn < 0:
                return name
        return "ok"

    def _build(self, name: str, errors: int) -> Fault:
        if name == "error":
            return _reply(name, _STATUSES[errors % 4], _BODIES[errors % 3], None)
        after = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        return {
            "drop": Fault.drop(),
            "drop_mid_body": Fault.drop_mid_body(),
            "truncate": Fault.truncate(),
            "too_many": _reply("too_many", 429, "json", after),
            "slow": Fault("slow", "delay", seconds=self.slow_by),
        }.get(name, Fault.ok())


def _reply(name: str, code: int, body: Body, headers: Mapping[str, str] | None) -> Fault:
    checks.whole("code", code, least=_ERROR_LEAST, most=_ERROR_MOST)
    checks.one_of("body", body, _BODIES)
    page = f"<html><head><title>{code}</title></head><body><h1>{code}</h1></body></html>\n"
    content = {"json": None, "html": page.encode(), "empty": b""}[body]
    return Fault(name, "reply", code=code, body=content, headers=headers or {})
