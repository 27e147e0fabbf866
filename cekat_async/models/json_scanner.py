"""Finds where JSON values begin and end, even if :mod:`msgspec` cannot decode the JSON.

For example, msgspec rejects half of an emoji, a bare ``NaN``, and thousands of nested brackets. The
functions of this module look only for brackets and strings, so that one bad record does not make
the other records unreadable.
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
"""The most records on a page, 500 times the documented maximum.

The garbage collector visits all objects in one run, so millions of records would block the event
loop even if they were read in small steps.
"""

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The exceptions of msgspec. Invalid UTF-8 and deep nesting raise built-in exceptions."""

# The number of bytes to scan before the event loop runs. A token costs as much as a few dozen
# bytes.
BYTES_PER_STEP = 256 * 1024
BYTES_PER_TOKEN = 64
# The most bytes that one regular expression may scan.
_WINDOW = 64 * 1024


class BrokenJSONError(ValueError):
    """The bytes are not complete JSON, because a bracket or a string has no end."""


class TooManyRecordsError(ValueError):
    """The page has more than :data:`MOST_RECORDS` records."""


_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+'
# Everything between two counted brackets: other characters, whole strings, and lists or objects
# without nested brackets.
_BETWEEN_BRACKETS = re.compile(
    rb'(?:[^"\[\]{}]++|' + _STRING + rb"|\[" + _FLAT + rb"\]|\{" + _FLAT + rb"\})*+", re.DOTALL
)
_BRACKETS = re.compile(rb"[\[{]++|[\]}]++")
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR = re.compile(rb'[^"\[\]{},:\s]*+')
_SPACE = re.compile(rb"[ \t\r\n]*+")
_QUOTE, _OPEN, _CLOSE = ord('"'), frozenset(b"[{"), frozenset(b"]}")


def match_end(pattern: re.Pattern[bytes], body: bytes, at: int, window: int = _WINDOW) -> int:
    """Return the end of a match at ``at``, or ``at`` if nothing matches within ``window`` bytes."""
    found = pattern.match(body, at, at + window)
    return at if found is None else found.end()


def _skip_value(body: bytes, at: int) -> Steps[int]:
    """Return the index after the value that begins at ``at``, without decoding the value."""
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
            # The string is longer than the window, or begins near the end of the window.
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
        if end == at:  # a backslash with nothing after it
            raise BrokenJSONError("a string does not end")
        at = end
        yield


def cut_elements(body: bytes, at: int) -> Steps[list[msgspec.Raw]]:
    """Return the elements of the list that begins at ``at``.

    Raises:
        BrokenJSONError: The list is not complete.
        TooManyRecordsError: The list has too many elements.
    """
    found: list[msgspec.Raw] = []
    at, work = _skip_space(body, at + 1), 0
    if body[at : at + 1] == b"]":
        return found
    while True:
        if len(found) == MOST_RECORDS:
            raise TooManyRecordsError(f"it has a list of more than {MOST_RECORDS:,} elements")
        end = yield from _skip_value(body, at)
        # Make a copy, because each view would be one more object for the garbage collector.
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
    """Return the elements of a text that consists of exactly one list.

    Raises:
        BrokenJSONError: The list is not complete, or something follows it.
        TooManyRecordsError: The list has too many elements.
    """
    end = yield from _skip_value(text, 0)
    if _skip_space(text, end) < len(text):
        raise BrokenJSONError("something follows after the end")
    return (yield from cut_elements(text, 0))


def find_members(body: bytes, wanted: Container[str]) -> Steps[dict[str, slice]]:
    """Return the slice of the text for each wanted member of an object, by name.

    Raises:
        BrokenJSONError: The text is not an object, or is not complete.
        TooManyRecordsError: The object has too many members.
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
