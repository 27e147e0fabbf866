"""Decodes any JSON to Python values, in steps that do not block the event loop."""

from __future__ import annotations

from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from cekat_async._api.status import error_from_reply
from cekat_async.errors import DecodeError, MalformedBodyError
from cekat_async.models.conversion import ANY_VALUE, decode_leniently
from cekat_async.models.json_scanner import (
    UNDECODABLE,
    BrokenJSONError,
    TooManyRecordsError,
    cut_list,
    find_members,
)
from cekat_async.models.raw_json import count_values, fits_at_once, replace_invalid_text

if TYPE_CHECKING:
    import msgspec

    from cekat_async._api.replies import Reply
    from cekat_async.models.raw_json import JsonValue
    from cekat_async.models.steps import Steps

__all__ = ["MOST_VALUES", "decode_json"]

MOST_VALUES = 400_000
"""The most values in a reply. With more, Python's garbage collector blocks the event loop."""

# ``_STEP`` is the number of bytes to decode before the event loop runs. Each part counts as at
# least ``_PART`` bytes.
_STEP = 128 * 1024
_PART = 2048
# Large lists and objects are decoded element by element down to this depth of nesting.
_DEEPEST = 8
_SPACE = b" \t\r\n"


class _Everything:
    """A container for which ``name in container`` is always true."""

    def __contains__(self, _: object) -> bool:
        return True


def decode_json(reply: Reply) -> Steps[Any]:
    """Return the JSON of a reply as Python values.

    Text that Python cannot encode is replaced, as in records. ``NaN`` and infinity become floats,
    because some servers send them although they are not valid JSON.

    Raises:
        MalformedBodyError: The body is not JSON, or is cut short.
        DecodeError: The body has too many values, or they are nested too deeply.
        APIStatusError: The body says ``"success": false``.
    """
    body = reply.body.strip(_SPACE)
    if count_values(body) > MOST_VALUES:
        raise _too_much(body, f"it has more than {MOST_VALUES:,} values")
    failure: DecodeError
    try:
        value: JsonValue = yield from _decode(body, 0)
    except (BrokenJSONError, JSONDecodeError) as error:
        message = f"the reply is not complete JSON ({_describe(error)}; {len(body):,} bytes)"
        failure = MalformedBodyError(message, raw=body)
    except TooManyRecordsError as error:
        failure = _too_much(body, str(error))
    except RecursionError:
        failure = _too_much(body, "its values are nested too deeply")
    else:
        if isinstance(value, dict) and value.get("success") is False:
            raise error_from_reply(reply)
        return value
    raise failure


def _describe(error: BrokenJSONError | JSONDecodeError) -> str:
    """Describe the problem without quoting the body."""
    return error.msg.lower() if isinstance(error, JSONDecodeError) else str(error)


def _too_much(body: bytes, reason: str) -> DecodeError:
    return DecodeError(f"the reply cannot be decoded: {reason}. Ask for less of it", raw=body)


def _decode(raw: bytes, depth: int) -> Steps[Any]:
    is_list = raw.startswith(b"[")
    if fits_at_once(raw) or not (is_list or raw.startswith(b"{")):
        return (yield from _decode_at_once(raw))
    if depth == _DEEPEST:
        raise RecursionError
    yield
    if is_list:
        return (yield from _decode_elements((yield from cut_list(raw)), depth))
    return (yield from _decode_members(raw, depth))


def _decode_elements(elements: list[msgspec.Raw], depth: int) -> Steps[list[Any]]:
    found, work = list[Any](), 0
    for element in elements:
        found.append((yield from _decode(bytes(element), depth + 1)))
        work += len(element) + _PART
        if work > _STEP:
            work = 0
            yield
    return found


def _decode_members(raw: bytes, depth: int) -> Steps[dict[str, Any]]:
    found, work = dict[str, Any](), 0
    for name, span in (yield from find_members(raw, _Everything())).items():
        found[name] = yield from _decode(raw[span], depth + 1)
        work += span.stop - span.start + _PART
        if work > _STEP:
            work = 0
            yield
    return found


def _decode_at_once(raw: bytes) -> Steps[Any]:
    try:
        return ANY_VALUE.decode(raw)
    except UNDECODABLE:
        text = yield from replace_invalid_text(raw)
    yield
    try:
        return ANY_VALUE.decode(text)
    except UNDECODABLE:
        yield
    # msgspec also rejects NaN, and integers with thousands of digits. This call decodes them.
    return decode_leniently(text.decode())
