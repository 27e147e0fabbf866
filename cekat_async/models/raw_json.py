"""JSON as bytes: where the records of a page begin and end, and which id a record has.

:mod:`msgspec` does this, unless a body holds something that it rejects, such as half of an emoji,
a bare ``NaN`` or thousands of nested brackets. Then the functions here find the borders of the
values by their brackets and strings alone, so that one bad record does not cost the others.

Bytes from a server can take long to read. Functions that return :data:`Steps` are generators that
pause after a few milliseconds of work, so that their caller can give the event loop a turn.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

__all__ = [
    "AT_ONCE",
    "MOST_RECORDS",
    "UNDECODABLE",
    "BrokenJSONError",
    "Envelope",
    "Steps",
    "TooManyRecordsError",
    "completed",
    "count_values",
    "cut_envelope",
    "cut_records",
    "fits_at_once",
    "id_in",
    "join_lines",
    "lines",
    "mended",
    "record_id",
]

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""Work in steps: a generator that yields ``None`` at each pause and returns its result."""

AT_ONCE = 256 * 1024
"""Bytes of any JSON that :mod:`msgspec` may decode in one call. They take 30 ms at most."""

# Larger JSON may be decoded in one call as well, if it consists of few and long values.
_LARGE = 2 * 1024 * 1024
_FEW_VALUES = 40_000

MOST_RECORDS = 50_000
"""Records that a page may have, 500 times what the API documents.

A run of Python's garbage collector looks at all objects, so millions of records would block the
event loop, however small the steps in which they are read.
"""

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: bad UTF-8 in a string and deep nesting have errors of their own."""

# Bytes that are scanned between two pauses. A token costs as much as some tens of bytes.
_STEP = 256 * 1024
_TOKEN = 64
# Bytes that one regular expression may look at.
_WINDOW = 64 * 1024


class BrokenJSONError(ValueError):
    """The bytes are not whole JSON: a bracket or a string does not end."""


class TooManyRecordsError(ValueError):
    """The page has more than :data:`MOST_RECORDS` records."""


class Envelope(NamedTuple):
    """The parts of a reply: its records, and the bytes of what surrounds them.

    Attributes:
        records: The elements of ``data``; ``None`` if that is not a list.
        metadata: The value of ``metadata``; ``null`` if there is none.
        success: The value of ``success``; ``null`` if there is none.
    """

    records: list[msgspec.Raw] | None
    metadata: msgspec.Raw
    success: msgspec.Raw


def fits_at_once(raw: bytes | msgspec.Raw) -> bool:
    """Whether :mod:`msgspec` may decode some JSON in one call, which blocks the event loop."""
    if len(raw) <= AT_ONCE:
        return True
    return len(raw) <= _LARGE and count_values(raw) <= _FEW_VALUES


def count_values(raw: bytes | msgspec.Raw) -> int:
    """Return how many values some JSON has at most; the characters of its strings count too."""
    # Each value but the first of a list or an object comes after a comma.
    text = bytes(raw)
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def completed(steps: Steps[T]) -> T:
    """Return the result of work in steps, without pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class _Records(msgspec.Struct):
    data: list[msgspec.Raw]


_RECORDS = msgspec.json.Decoder(_Records)


def cut_records(body: bytes) -> list[msgspec.Raw]:
    """Return the bytes of each record under ``data``; none if that is not a list.

    Raises:
        BrokenJSONError: The body is not whole JSON.
        TooManyRecordsError: It is not JSON that :mod:`msgspec` reads, and has too many records.
    """
    try:
        return _RECORDS.decode(body).data
    except UNDECODABLE:
        return completed(cut_envelope(body)).records or []


_NULL = b"null"


def cut_envelope(body: bytes) -> Steps[Envelope]:
    """Return the parts of a body, whatever its records hold.

    Raises:
        BrokenJSONError: The body is not an object, or is not whole JSON.
        TooManyRecordsError: It has too many records.
    """
    spans = yield from _members(body, {"data", "metadata", "success"})
    data = spans.get("data")
    records = None
    if data is not None and body[data.start : data.start + 1] == b"[":
        records = yield from _elements(body, data.start)
    metadata, success = (
        msgspec.Raw(body[spans[name]] if name in spans else _NULL)
        for name in ("metadata", "success")
    )
    return Envelope(records, metadata, success)


class _OnlyId(msgspec.Struct):
    id: str


_ONLY_ID = msgspec.json.Decoder(_OnlyId)


def record_id(raw: bytes | msgspec.Raw) -> str | None:
    """Return the id of a record, given its bytes; ``None`` if it has no readable id.

    Everything that needs the id of a record asks this function, so that a record has the same id
    in a page, a checkpoint and a target. A readable id is a text with at least one character. It
    is read even if other fields of the record are broken.

    Args:
        raw: The record as JSON: an element of ``page.raw``, or a line of an export.
    """
    try:
        return _ONLY_ID.decode(raw).id or None
    except UNDECODABLE:
        return completed(id_in(completed(mended(bytes(raw)))))


def id_in(text: bytes) -> Steps[str | None]:
    """Return the id of a record whose text is :func:`mended`, and that may not be whole JSON."""
    try:
        span = (yield from _members(text, {"id"})).get("id")
        found = msgspec.json.decode(text[span]) if span else None
    except (BrokenJSONError, *UNDECODABLE):
        return None
    return found if isinstance(found, str) and found else None


# Text without an unpaired surrogate: plain characters, escapes of one character, other escapes
# with a code, and surrogate pairs.
_WHOLE_TEXT = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+",
    re.DOTALL,
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_LONGEST_UNIT = len(rb"\ud83d\ude00")
_REPLACEMENT = rb"\ufffd"
# JSON has no control characters in strings; between tokens they are white space.
_CONTROL = bytes.maketrans(bytes(range(32)), b" " * 32)
_LINE_BREAKS = b"\r\n"


def mended(raw: bytes) -> Steps[bytes]:
    """Return JSON with replacements for the text that JSON allows and Python does not.

    An escaped half of a surrogate pair becomes U+FFFD: a server that cuts a message after a number
    of UTF-16 units may cut an emoji in two. So do bytes that are not UTF-8. Control characters
    become spaces, and line breaks are removed, as in the lines of a page.
    """
    text = bytearray(raw)
    at = work = 0
    while at < len(raw):
        end = _end_of_whole_text(raw, at)
        if end == at:
            is_half = _HALF.match(raw, at)
            end = at + (len(_REPLACEMENT) if is_half else 1)
            if is_half:
                text[at:end] = _REPLACEMENT
        work += end - at + _TOKEN
        at = end
        if work > _STEP:
            work = 0
            yield
    return text.translate(_CONTROL, _LINE_BREAKS).decode(errors="replace").encode()


def _end_of_whole_text(raw: bytes, at: int) -> int:
    end = _end_of(_WHOLE_TEXT, raw, at)
    # An escape may have been cut in two by the window.
    return _end_of(_WHOLE_TEXT, raw, at, _LONGEST_UNIT) if end == at else end


_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+'
# What a value may hold between two brackets that are looked at: other characters, strings that are
# whole, and lists and objects with no others inside.
_BETWEEN_BRACKETS = re.compile(
    rb'(?:[^"\[\]{}]++|' + _STRING + rb"|\[" + _FLAT + rb"\]|\{" + _FLAT + rb"\})*+", re.DOTALL
)
_BRACKETS = re.compile(rb"[\[{]++|[\]}]++")
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR = re.compile(rb'[^"\[\]{},:\s]*+')
_SPACE = re.compile(rb"[ \t\r\n]*+")
_QUOTE, _OPEN, _CLOSE = ord('"'), frozenset(b"[{"), frozenset(b"]}")


def _end_of(pattern: re.Pattern[bytes], body: bytes, at: int, window: int = _WINDOW) -> int:
    found = pattern.match(body, at, at + window)
    return at if found is None else found.end()


def _end_of_value(body: bytes, at: int) -> Steps[int]:
    """Return the index after the value that begins at ``at``; only its borders are looked for."""
    if (first := _char(body, at)) == _QUOTE:
        return (yield from _end_of_string(body, at + 1))
    if first in _OPEN:
        return (yield from _end_of_brackets(body, at + 1))
    end = _end_of(_SCALAR, body, at)
    if end == at:
        raise BrokenJSONError(f"a value is missing (byte {at})")
    return end


def _end_of_brackets(body: bytes, at: int) -> Steps[int]:
    depth, work = 1, 0
    while True:
        begin, at = at, _end_of(_BETWEEN_BRACKETS, body, at)
        char = _char(body, at)
        if char == _QUOTE:
            # The string is longer than the window, or begins near its end.
            at = yield from _end_of_string(body, at + 1)
        elif char in _OPEN:
            end = _end_of(_BRACKETS, body, at)
            depth, at = depth + end - at, end
        elif char in _CLOSE:
            end = min(_end_of(_BRACKETS, body, at), at + depth)
            depth, at = depth - (end - at), end
            if not depth:
                return at
        work += at - begin + _TOKEN
        if work > _STEP:
            work = 0
            yield


def _end_of_string(body: bytes, at: int) -> Steps[int]:
    while True:
        end = _end_of(_IN_STRING, body, at)
        if _char(body, end) == _QUOTE:
            return end + 1
        if end == at:  # a backslash, and nothing after it
            raise BrokenJSONError("a string does not end")
        at = end
        yield


def _elements(body: bytes, at: int) -> Steps[list[msgspec.Raw]]:
    """Return the elements of the list that begins at ``at``."""
    found: list[msgspec.Raw] = []
    at, work = _end_of_space(body, at + 1), 0
    if body[at : at + 1] == b"]":
        return found
    while True:
        if len(found) == MOST_RECORDS:
            raise TooManyRecordsError(f"it has more than {MOST_RECORDS:,} records")
        end = yield from _end_of_value(body, at)
        # A copy: a million views would be a million objects for the garbage collector.
        found.append(msgspec.Raw(body[at:end]))
        work += end - at + _TOKEN
        at = _end_of_space(body, end)
        if body[at : at + 1] == b"]":
            return found
        at = _end_of_space(body, _after(b",", body, at))
        if work > _STEP:
            work = 0
            yield


def _members(body: bytes, wanted: Container[str]) -> Steps[dict[str, slice]]:
    """Return where some values are of the object that a text is, under their names."""
    spans: dict[str, slice] = {}
    at, work = _end_of_space(body, _after(b"{", body, _end_of_space(body, 0))), 0
    while body[at : at + 1] != b"}":
        begin = _after(b'"', body, at)
        end = yield from _end_of_string(body, begin)
        value = _end_of_space(body, _after(b":", body, _end_of_space(body, end)))
        after = yield from _end_of_value(body, value)
        if (name := _name(body[begin - 1 : end])) in wanted:
            spans[name] = slice(value, after)
        work += after - at + _TOKEN
        at = _end_of_space(body, after)
        if body[at : at + 1] != b"}":
            at = _end_of_space(body, _after(b",", body, at))
        if work > _STEP:
            work = 0
            yield
    if _end_of_space(body, at + 1) < len(body):
        raise BrokenJSONError("something follows after the end")
    return spans


def _name(token: bytes) -> str:
    try:
        return msgspec.json.decode(token, type=str)
    except UNDECODABLE:
        return token.decode(errors="replace")


def _char(body: bytes, at: int) -> int:
    if at >= len(body):
        raise BrokenJSONError("it ends too early")
    return body[at]


def _after(wanted: bytes, body: bytes, at: int) -> int:
    if body[at : at + 1] != wanted:
        raise BrokenJSONError(f"{wanted.decode()} is missing (byte {at})")
    return at + 1


def _end_of_space(body: bytes, at: int) -> int:
    return _end_of(_SPACE, body, at, len(body))


def lines(records: Sequence[msgspec.Raw], body: bytes) -> list[bytes]:
    """Return each record of a body on one line: as sent, without line breaks between its tokens."""
    found = [bytes(raw) for raw in records]
    if not _has_breaks(body):
        return found
    # JSON has no line breaks inside of strings, so what is removed is between tokens.
    return [line.translate(None, _LINE_BREAKS) for line in found]


def join_lines(records: Sequence[msgspec.Raw], body: bytes) -> bytes:
    """Return the records of a body as JSON Lines, copied at once where there is no line break."""
    parts = lines(records, body) if _has_breaks(body) else records
    return b"\n".join([*parts, b""])


def _has_breaks(body: bytes) -> bool:
    return b"\n" in body or b"\r" in body
