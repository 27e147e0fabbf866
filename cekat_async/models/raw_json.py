"""Works on JSON as bytes: cuts pages into records, reads ids, and replaces invalid text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from cekat_async.models.json_scanner import (
    BYTES_PER_STEP,
    BYTES_PER_TOKEN,
    UNDECODABLE,
    BrokenJSONError,
    cut_elements,
    find_members,
    match_end,
)
from cekat_async.models.steps import run_steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cekat_async.models.steps import Steps

__all__ = [
    "AT_ONCE",
    "ENVELOPE",
    "NULL",
    "Envelope",
    "JsonValue",
    "count_values",
    "cut_envelope",
    "cut_records",
    "decode_id",
    "find_id",
    "fits_at_once",
    "join_lines",
    "lines",
    "record_id",
    "replace_invalid_text",
]

JsonValue: TypeAlias = dict[str, Any] | list[Any] | str | float | None
"""Any decoded JSON."""

AT_ONCE = 256 * 1024
"""The most bytes of JSON that :mod:`msgspec` may decode in one call. This takes at most 30 ms."""

# Larger JSON, up to this size, may be decoded in one call too if it has few values.
_LARGE = 2 * 1024 * 1024
_FEW_VALUES = 40_000


NULL = msgspec.Raw(b"null")


class Envelope(msgspec.Struct):
    """The parts of a reply, as bytes. ``records`` is ``None`` if ``data`` is not a list."""

    records: list[msgspec.Raw] | None = msgspec.field(default=None, name="data")
    metadata: msgspec.Raw = NULL
    success: msgspec.Raw = NULL


ENVELOPE = msgspec.json.Decoder(Envelope)
"""Decodes the parts of a reply that :mod:`msgspec` can read."""


def fits_at_once(raw: bytes | msgspec.Raw) -> bool:
    """Whether :mod:`msgspec` can decode the JSON in one call without blocking the event loop."""
    if len(raw) <= AT_ONCE:
        return True
    return len(raw) <= _LARGE and count_values(raw) <= _FEW_VALUES


def count_values(raw: bytes | msgspec.Raw) -> int:
    """Return an upper bound for the number of values in JSON. Commas in strings count too."""
    # Each value has a comma before it, except the first value of a list or an object.
    text = bytes(raw)
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def cut_records(body: bytes) -> list[msgspec.Raw]:
    """Return the bytes of each record in ``data``, or an empty list if ``data`` is not a list.

    Raises:
        BrokenJSONError: The body is not complete JSON.
        TooManyRecordsError: :mod:`msgspec` cannot read the body, and the body has too many records.
    """
    try:
        envelope = ENVELOPE.decode(body)
    except UNDECODABLE:
        envelope = run_steps(cut_envelope(body))
    return envelope.records or []


def cut_envelope(body: bytes) -> Steps[Envelope]:
    """Return the parts of a body, even if its records cannot be decoded.

    Raises:
        BrokenJSONError: The body is not an object, or is not complete JSON.
        TooManyRecordsError: The body has too many records.
    """
    spans = yield from find_members(body, {"data", "metadata", "success"})
    data = spans.get("data")
    records = None
    if data is not None and body[data.start : data.start + 1] == b"[":
        records = yield from cut_elements(body, data.start)
    metadata, success = (
        msgspec.Raw(body[spans[name]]) if name in spans else NULL
        for name in ("metadata", "success")
    )
    return Envelope(records, metadata, success)


class _OnlyId(msgspec.Struct):
    id: str


_ONLY_ID = msgspec.json.Decoder(_OnlyId)


def record_id(raw: bytes | msgspec.Raw) -> str | None:
    """Return the id of a record from its JSON, or ``None`` if it has no readable id.

    The whole package uses this function, so a record has the same id in a page, a checkpoint and a
    target. A readable id is text with at least one character. The function reads the id even if
    other fields of the record are broken.

    Args:
        raw: The JSON of the record, such as an element of ``page.raw`` or a line of an export.

    Examples:
        >>> record_id(b'{"id": "c1", "created_at": nonsense}')
        'c1'
    """
    try:
        return _ONLY_ID.decode(raw).id or None
    except UNDECODABLE:
        return run_steps(find_id(run_steps(replace_invalid_text(bytes(raw)))))


def find_id(text: bytes) -> Steps[str | None]:
    """Return the id of a record from its text, which may be incomplete JSON."""
    try:
        span = (yield from find_members(text, {"id"})).get("id")
    except BrokenJSONError:
        return None
    return decode_id(text[span]) if span else None


def decode_id(raw: bytes | msgspec.Raw) -> str | None:
    """Return an id from its JSON, or ``None`` if the JSON is not text or is empty text."""
    try:
        return msgspec.json.decode(raw, type=str) or None
    except UNDECODABLE:
        return None


# Matches text without unpaired surrogates: plain characters, escapes of one character, escapes with
# a code, and surrogate pairs.
_WHOLE_TEXT = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+",
    re.DOTALL,
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_LONGEST_UNIT = len(rb"\ud83d\ude00")
_REPLACEMENT = rb"\ufffd"
# JSON forbids control characters in strings. Between tokens, they count as white space here.
_CONTROL = bytes.maketrans(bytes(range(32)), b" " * 32)
_LINE_BREAKS = b"\r\n"


def replace_invalid_text(raw: bytes) -> Steps[bytes]:
    """Return JSON in which text that Python cannot decode is replaced.

    An escaped unpaired surrogate becomes U+FFFD. (A server that cuts a message after a number of
    UTF-16 units may split an emoji.) Bytes that are not UTF-8 become U+FFFD too. Control characters
    become spaces. Line breaks are removed, as in the lines of a page.
    """
    text = bytearray(raw)
    at = work = 0
    while at < len(raw):
        end = _match_valid_text(raw, at)
        if end == at:
            is_half = _HALF.match(raw, at)
            end = at + (len(_REPLACEMENT) if is_half else 1)
            if is_half:
                text[at:end] = _REPLACEMENT
        work += end - at + BYTES_PER_TOKEN
        at = end
        if work > BYTES_PER_STEP:
            work = 0
            yield
    return text.translate(_CONTROL, _LINE_BREAKS).decode(errors="replace").encode()


def _match_valid_text(raw: bytes, at: int) -> int:
    end = match_end(_WHOLE_TEXT, raw, at)
    # The window may end in the middle of an escape.
    return match_end(_WHOLE_TEXT, raw, at, _LONGEST_UNIT) if end == at else end


def lines(records: Iterable[msgspec.Raw]) -> list[bytes]:
    """Return each record on one line, as received but without line breaks between its tokens."""
    # JSON strings contain no line breaks, so only line breaks between tokens are removed. Most
    # servers send none, and checking for line breaks is ten times as fast as removing them.
    return [
        record.translate(None, _LINE_BREAKS) if b"\n" in record or b"\r" in record else record
        for record in map(bytes, records)
    ]


def join_lines(records: Iterable[msgspec.Raw]) -> bytes:
    """Return records as JSON Lines."""
    return b"\n".join([*lines(records), b""])
