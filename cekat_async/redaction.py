"""Makes external text safe for messages and logs: printable, short, and without secrets."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Secret", "one_line", "quoted", "readable"]

# Collapsing white space may shrink a text to this fraction of its length.
_SHRINKING = 4
_LONGEST_QUOTE = 100

_SHORTEST_SECRET = 8
# Only this many characters of a secret are searched for, because long patterns compile slowly.
_PROBE = 40
# One character of a secret may take this many characters in a text, as in "&#123;".
_LONGEST_SPELLING = 8


def readable(text: str) -> str:
    r"""Return text without surrogates, so that it can be encoded as UTF-8.

    Python uses surrogates to decode a file name that is not UTF-8. Surrogates that stand for valid
    UTF-8 become characters. Other surrogates become escapes such as ``\xe9``.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return _encode(text).decode(errors="backslashreplace")
    return text


def _encode(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which encodes no byte
        return text.encode(errors="surrogatepass")


def one_line(text: str, at_most: int) -> str:
    """Return text as one printable line of at most ``at_most`` characters. An ``…`` marks a cut."""
    # Truncate first, because cleaning several megabytes would block the event loop for seconds.
    start = readable(text[: at_most * _SHRINKING])
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= at_most else f"{line[: at_most - 1]}…"


def quoted(text: str) -> str:
    """Return a server's text for use in a message. If the text is long, return only its length.

    The text may contain the API key. If a long text were truncated, a part of the key might remain.
    """
    is_short = len(text) <= _LONGEST_QUOTE and text.isprintable()
    return text if is_short else f"of {len(text):,} characters"


def _build_pattern(secret: str) -> str:
    """Return a pattern that matches a secret as plain text or escaped for JSON, URLs or HTML."""
    return "".join(
        rf"(?:\\?{re.escape(c)}|(?i:\\u00{ord(c):02x}|%{ord(c):02x}|&#{ord(c)};|&#x{ord(c):x};))"
        for c in secret
    )


def _may_have_escapes(text: str) -> bool:
    """Whether a text contains a backslash, ``%`` or ``&``, which begin escaped characters."""
    return "\\" in text or "%" in text or "&" in text


def _find_end(rest: list[re.Pattern[str]], text: str, at: int) -> int:
    """Return the end of a secret whose first :data:`_PROBE` characters end at ``at``."""
    for character in rest:
        if not (found := character.match(text, at)):
            break
        at = found.end()
    return at


class Secret:
    """Text that only :meth:`reveal` shows. ``repr``, ``str``, pickles and tracebacks hide it."""

    __slots__ = ("_pattern", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        # The pattern is compiled on first use, because compiling takes as long as searching 4,000
        # characters.
        self._pattern: re.Pattern[str] | None = None

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def redact_text(self, text: str) -> str:
        """Return ``text`` without the secret, because a server may have repeated the secret."""
        if len(self._value) < _SHORTEST_SECRET:
            return text  # such a short text occurs often, and cannot be a real secret
        if not _may_have_escapes(text) and self._value[:_PROBE] not in text:
            return text  # this check suffices for most texts, in a tenth of the search's time
        pieces, at = list[str](), 0
        rest: list[re.Pattern[str]] = []
        if self._pattern is None:
            self._pattern = re.compile(_build_pattern(self._value[:_PROBE]))
        for found in self._pattern.finditer(text):
            if found.start() >= at:
                # Compile only once: compiling for each occurrence blocked the event loop for 300 ms
                # (benchmarks/bench_blocking.py, error-nearly-the-key).
                rest = rest or [re.compile(_build_pattern(c)) for c in self._value[_PROBE:]]
                pieces += [text[at : found.start()], "***"]
                at = _find_end(rest, text, found.end())
        return "".join([*pieces, text[at:]])

    def redact(self, body: bytes) -> bytes:
        """Return ``body`` without the secret."""
        # In Latin-1, each byte is one character, and the secret is ASCII.
        return self.redact_text(body.decode("latin-1")).encode("latin-1")

    def excerpt(self, body: bytes, at_most: int) -> bytes:
        """Return the first ``at_most`` bytes of ``body``, without the secret.

        The body is truncated before it is redacted, because redacting megabytes takes seconds.
        """
        if len(body) <= at_most:
            return self.redact(body)
        # The truncated body may end with the beginning of the secret, so its last bytes are
        # dropped.
        margin = _LONGEST_SPELLING * len(self._value)
        redacted = self.redact(body[: at_most + margin])
        return redacted[: max(0, len(redacted) - margin)][:at_most]

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> Any:
        raise TypeError("a Secret cannot be pickled")
