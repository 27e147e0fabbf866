"""Hypothesis strategies for records and bodies of any shape, with the expected results."""

import json
from dataclasses import dataclass

from hypothesis import strategies as st

from cekat_async import Conversation

KNOWN = [name for name in Conversation.__struct_fields__ if name not in {"id", "extra"}]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
VALUES = JSON.map(lambda value: json.dumps(value).encode())

# Tokens that a valid record may contain.
READABLE = st.sampled_from(
    [
        b"1e999",
        b"-1E400",
        b"9" * 5000,
        b"6281234567890.0",
        rb'"\ud83d"',
        rb'"\ude00 cut \ud83d\ude00"',
        b'"caf\xe9"',
        b'"two\r\nlines\t"',
        b'"\\u0000"',
        b'"{[\\"]}"',
        b"[" * 200 + b"]" * 200,
        b'{"created_at":"2026-04-10 16:24:23","message":7}',
        b'[{"id":1},null,{"name":"VIP"}]',
    ]
)
# Tokens that make a record malformed.
UNREADABLE = st.sampled_from(
    [b"NaN", b"-Infinity", b"undefined", b"[" * 100_000 + b"]" * 100_000, b"01", b"'x'"]
)
NAMES = st.sampled_from([*KNOWN, "extra", "x_new"]) | TEXTS.filter(lambda name: name != "id")
IDS = st.sampled_from([f"id-{number}" for number in range(9)]) | TEXTS.filter(bool)


@dataclass(frozen=True)
class Sent:
    """A record that a server sends.

    Attributes:
        raw: The bytes of the record.
        id: The record's id, or None if the record has no readable id.
        is_malformed: Whether the client must report the record as malformed.
    """

    raw: bytes
    id: str | None
    is_malformed: bool


@st.composite
def records(draw: st.DrawFn) -> Sent:
    """Return a record of any shape. Most records have an id."""
    if draw(st.integers(0, 9)) == 0:
        raw = draw(st.sampled_from([b"17", b"null", b"[]", b'"x"', b"{}", b"NaN"]))
        return Sent(raw, id=None, is_malformed=True)
    members = draw(st.dictionaries(NAMES, VALUES | READABLE, max_size=5))
    unreadable = draw(st.just(dict[str, bytes]()) | st.dictionaries(NAMES, UNREADABLE, max_size=1))
    own = [*(members | unreadable).items()]
    id_ = draw(st.none() | st.just("") | IDS | IDS | IDS | IDS)
    if id_ is not None:
        own.insert(draw(st.integers(0, len(own))), ("id", json.dumps(id_).encode()))
    raw = b"{%s}" % b",".join(json.dumps(n).encode() + b":" + value for n, value in own)
    return Sent(raw, id_ or None, bool(unreadable) or not id_)


def make_body(sent: list[Sent], rest: bytes = b"") -> bytes:
    """Return the body of a page with these records, followed by the bytes in ``rest``."""
    return b'{"success":true,"data":[%s]%s}' % (b",".join(one.raw for one in sent), rest)


METADATA = st.sampled_from(
    [
        b"",
        b',"metadata":null',
        b',"metadata":{"next_cursor":null}',
        b',"metadata":{"next_cursor":{"cursor_id":"c","cursor_ts":"2026-04-10T09:51:19.885"}}',
        b',"metadata":{"next_cursor":{"cursor_id":"c"}}',
        b',"metadata":{"next_cursor":[NaN]}',
        b',"metadata":[],"more":{"data":[{"id":"not a record"}]}',
        b',"metadata":{"pagination":{"total_page":"8","total_items":NaN}}',
    ]
)
