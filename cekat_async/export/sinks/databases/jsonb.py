"""Converts JSON so that PostgreSQL can query it: ``jsonb`` does not accept all JSON."""

from __future__ import annotations

import re

import msgspec

__all__ = ["make_queryable"]

# These limits are far below the default limits of a server: 131,072 digits before the decimal
# point, 16,383 digits after it, and some thousand levels.
_NUMBER_FITS = re.compile(r"-?[0-9.]{1,5000}(?:[eE][+-]?0*[0-9]{1,4})?")
_DEEPEST = 1_000

# Patterns that show that a text may need a change, each with the length of its longest match. Most
# texts contain none of them. (A search for digits must begin at the first digit, or it takes
# quadratic time.)
_SUSPECTS = (
    (re.compile(r"\\u(?:0000|[dD][89a-fA-F])"), 6),
    (re.compile(r"[0-9.][eE][+-]?[0-9]{5}"), 8),
    (re.compile(r"(?<![0-9.])[0-9.]{5000}"), 5000),
)
# The maximum number of characters in one search, because other threads wait during a search.
_PIECE = 1 << 18

_TOKEN = re.compile(
    r'"(?:[^"\\]++|\\.)*+"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|[\[{]|[\]}]',
    re.DOTALL,
)
# Text that does not change is matched in pieces, so that other threads can run in between.
_ESCAPES = re.compile(
    r"(?P<kept>(?:[^\\]++|\\[^u]|\\u(?!0000|[dD][89a-fA-F])){1,1000}+"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
_REPLACEMENT = r"\ufffd"
_JSON = msgspec.json.Decoder(msgspec.Raw)


def make_queryable(text: str) -> str:
    """Return JSON that every JSON function of PostgreSQL accepts. The argument may be any text.

    U+FFFD replaces U+0000 and lone surrogates. A number that is out of range becomes a string of
    its digits. Text that is not JSON, or that is nested more than 1,000 levels deep, becomes a JSON
    string. Other JSON is returned unchanged.
    """
    replaced = _TOKEN.sub(_replace_token, text) if _is_suspect(text) else text
    if _is_json(replaced) and not _is_too_deep(replaced):
        return replaced
    return msgspec.json.encode(text.replace("\0", "\ufffd")).decode()


def _is_suspect(text: str) -> bool:
    return any(_contains(text, pattern, length) for pattern, length in _SUSPECTS)


def _contains(text: str, pattern: re.Pattern[str], length: int) -> bool:
    """Search a text piece by piece, and return whether it contains a pattern."""
    ends = range(min(_PIECE, len(text)), len(text) + _PIECE, _PIECE)
    return len(text) >= length and any(
        pattern.search(text, max(0, end - _PIECE - length), end) for end in ends
    )


def _replace_token(token: re.Match[str]) -> str:
    """Return the replacement for a string, a number or a bracket."""
    text = token[0]
    if text.startswith('"'):
        return _ESCAPES.sub(_replace_escape, text) if r"\u" in text else text
    if text in "[]{}" or _NUMBER_FITS.fullmatch(text):
        return text
    return f'"{text}"'


def _replace_escape(escape: re.Match[str]) -> str:
    kept: str | None = escape["kept"]
    return _REPLACEMENT if kept is None else kept


def _is_json(text: str) -> bool:
    try:
        _JSON.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= _DEEPEST:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > _DEEPEST:
                return True
        elif token[0] in "]}":
            depth -= 1
    return False
