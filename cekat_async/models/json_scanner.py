"""Where the values in some JSON begin and end.

:mod:`msgspec` does this, unless a body contains something that it rejects, such as half of an
emoji, a bare ``NaN`` or thousands of nested brackets. The functions here find the borders of values
by their brackets and strings alone, so that one bad record does not cost the others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Container

    from cekat_async.models.steps import Steps

__all__ = [
    "BYTES_PER_STEP",
    "BYTES_PER_TOKEN",
    "MOST_RECORDS",
    "UNDECODABLE",
    "BrokenJSONError",
    "TooManyRecordsError",
    "cut_elements",
    "cut_list",
    "find_members",
    "match_end",
]

MOST_RECORDS = 50_000
"""Records that a page may have, 500 times what the API documents.

A run of Python's garbage collector looks at all objects, so millions of records would block the
event loop, however small the steps in which they are read.
"""

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: bad UTF-8 in a string and deep nesting have errors of their own."""

# Bytes that are scanned between two pauses. A token costs as much as some tens of bytes.
BYTES_PER_STEP = 256 * 1024
BYTES_PER_TOKEN = 64
# Bytes that one regular expression may look at.
_WINDOW = 64 * 1024


class BrokenJSONError(ValueError):
    """The bytes are not whole JSON: a bracket or a string does not end."""


class TooManyRecordsError(ValueError):
    """The page has more than :data:`MOST_RECORDS` records."""


_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+'
# What may be between two brackets that are counted: other characters, whole strings, and lists and
# objects with no others inside.
_BETWEEN_BRACKETS = re.compile(
    rb'(?:[^"\[\]{}]++|' + _STRING + rb"|\[" + _FLAT + rb"\]|\{" + _FLAT + rb"\})*+", re.DOTALL
)
_BRACKETS = re.compile(rb"[\[{]++|[\]}]++")
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR = re.compile(rb'[^"\[\]{},:\s]*+')
_SPACE = re.compile(rb"[ \t\r\n]*+")
_QUOTE, _OPEN, _CLOSE = ord('"'), frozenset(b"[{"), frozenset(b"]}")


def match_end(pattern: re.Pattern[bytes], body: bytes, at: int, window: int = _WINDOW) -> int:
    """Return where a match at ``at`` ends; ``at`` if there is none within ``window`` bytes."""
    found = pattern.match(body, at, at + window)
    return at if found is None else found.end()


def _skip_value(body: bytes, at: int) -> Steps[int]:
    """Return the index after the value that begins at ``at``; only its borders are looked for."""
    if (first := _get_char(body, at)) == _QUOTE:
        return (yield from _skip_string(body, at + 1))
    if first in _OPEN:
        return (yield from _skip_brackets(body, at + 1))
    end = match_end(_SCALAR, body, at)
    if end == at:
        raise BrokenJSONError(f"a value is missing (byte {at})")
    return end


def _skip_brackets(body: bytes, at: int) -> Steps[int]:
    depth, work = 1, 0
    while True:
        begin, at = at, match_end(_BETWEEN_BRACKETS, body, at)
        char = _get_char(body, at)
        if char == _QUOTE:
            # The string is longer than the window, or begins near its end.
            at = yield from _skip_string(body, at + 1)
        elif char in _OPEN:
            end = match_end(_BRACKETS, body, at)
            depth, at = depth + end - at, end
        elif char in _CLOSE:
            end = min(match_end(_BRACKETS, body, at), at + depth)
            depth, at = depth - (end - at), end
            if not depth:
                return at
        work += at - begin + BYTES_PER_TOKEN
        if work > BYTES_PER_STEP:
            work = 0
            yield


def _skip_string(body: bytes, at: int) -> Steps[int]:
    while True:
        end = match_end(_IN_STRING, body, at)
        if _get_char(body, end) == _QUOTE:
            return end + 1
        if end == at:  # a backslash, and nothing after it
            raise BrokenJSONError("a string does not end")
        at = end
        yield


def cut_elements(body: bytes, at: int) -> Steps[list[msgspec.Raw]]:
    """Return the elements of the list that begins at ``at``.

    Raises:
        BrokenJSONError: The list is not whole.
        TooManyRecordsError: It has too many elements.
    """
    found: list[msgspec.Raw] = []
    at, work = _skip_space(body, at + 1), 0
    if body[at : at + 1] == b"]":
        return found
    while True:
        if len(found) == MOST_RECORDS:
            raise TooManyRecordsError(f"it has a list of more than {MOST_RECORDS:,} elements")
        end = yield from _skip_value(body, at)
        # A copy: a million views would be a million objects for the garbage collector.
        found.append(msgspec.Raw(body[at:end]))
        work += end - at + BYTES_PER_TOKEN
        at = _skip_space(body, end)
        if body[at : at + 1] == b"]":
            return found
        at = _skip_space(body, _expect(b",", body, at))
        if work > BYTES_PER_STEP:
            work = 0
            yield


def cut_list(text: bytes) -> Steps[list[msgspec.Raw]]:
    """Return the elements of some text that is a list, and nothing else.

    Raises:
        BrokenJSONError: The list is not whole, or something follows it.
        TooManyRecordsError: It has too many elements.
    """
    end = yield from _skip_value(text, 0)
    if _skip_space(text, end) < len(text):
        raise BrokenJSONError("something follows after the end")
    return (yield from cut_elements(text, 0))


def find_members(body: bytes, wanted: Container[str]) -> Steps[dict[str, slice]]:
    """Return where some members of an object are: a slice of the text for each name.

    Raises:
        BrokenJSONError: The text is not an object, or not whole.
        TooManyRecordsError: There are too many of them.
    """
    spans: dict[str, slice] = {}
    at, work = _skip_space(body, _expect(b"{", body, _skip_space(body, 0))), 0
    while body[at : at + 1] != b"}":
        begin = _expect(b'"', body, at)
        end = yield from _skip_string(body, begin)
        value = _skip_space(body, _expect(b":", body, _skip_space(body, end)))
        after = yield from _skip_value(body, value)
        if (name := _decode_name(body[begin - 1 : end])) in wanted:
            spans[name] = slice(value, after)
            if len(spans) > MOST_RECORDS:
                raise TooManyRecordsError(f"it has more than {MOST_RECORDS:,} members")
        work += after - at + BYTES_PER_TOKEN
        at = _skip_space(body, after)
        if body[at : at + 1] != b"}":
            at = _skip_space(body, _expect(b",", body, at))
        if work > BYTES_PER_STEP:
            work = 0
            yield
    if _skip_space(body, at + 1) < len(body):
        raise BrokenJSONError("something follows after the end")
    return spans


def _decode_name(token: bytes) -> str:
    try:
        return msgspec.json.decode(token, type=str)
    except UNDECODABLE:
        return token.decode(errors="replace")


def _get_char(body: bytes, at: int) -> int:
    if at >= len(body):
        raise BrokenJSONError("it ends too early")
    return body[at]


def _expect(wanted: bytes, body: bytes, at: int) -> int:
    if body[at : at + 1] != wanted:
        raise BrokenJSONError(f"{wanted.decode()} is missing (byte {at})")
    return at + 1


def _skip_space(body: bytes, at: int) -> int:
    return match_end(_SPACE, body, at, len(body))
