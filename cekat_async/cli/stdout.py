"""Standard output as a terminal that may not have every character."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["has", "lenient_stdout"]


@contextlib.contextmanager
def lenient_stdout() -> Generator[None, None, None]:
    """Write a question mark for each character that standard output's encoding does not have."""
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    errors = stream.errors
    stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        # It may be closed by now, or on a full disk. The code that wrote to it reports that.
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(errors=errors)


def has(encoding: str | None, text: str) -> bool:
    """Return whether an encoding has all characters of a text."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
