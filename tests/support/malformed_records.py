"""Records that are undocumented or hard to write. The tests of all sinks use them."""

from __future__ import annotations

from typing import Any

import msgspec

from cekat_async.sandbox import Sandbox

_VALUES: dict[str, Any] = msgspec.json.decode(next(Sandbox(1).records())[1])


def record(**values: object) -> bytes:
    """Return a documented record, with these values in the fields of the same names."""
    return msgspec.json.encode(_VALUES | values)


def set_ids(records: dict[str, bytes]) -> dict[str, bytes]:
    """Return the records, with each id ``"x"`` replaced with the record's name."""
    return {name: raw.replace(b'"x"', f'"{name}"'.encode()) for name, raw in records.items()}


NUL = record(id="nul", notes="a\0b")
LONE_SURROGATE = record(id="lone", notes="HALF").replace(b"HALF", rb"\ud83d")
HUGE = record(id="huge", notes='say "so",\r\n' * 30_000)
NOT_UTF_8 = record(id="latin", notes="HALF").replace(b"HALF", b"caf\xe9")

LOSSLESS = [
    b"17",
    b"-1",
    b'"=x"',
    b"null",
    b"[]",
    b'{"id":3}',
    b'{"id":"a", "contact_name" : 7}',
    record(id="unknown", x_new={"deep": [1, None, "\u2028"]}),
    record(id="quotes", notes='"",\r\n"\r\n,\n\n"', contact_name="'=1"),
    NUL,
    LONE_SURROGATE,
    HUGE,
]
