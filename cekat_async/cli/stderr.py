"""Standard error as a thing one can do without: the job goes on when nobody can hear of it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["lead_nowhere", "optional_stderr"]


@contextlib.contextmanager
def optional_stderr() -> Generator[None, None, None]:
    """Let whatever writes to standard error meanwhile succeed, heard or not."""
    stream = _Optional(sys.stderr)
    with contextlib.redirect_stderr(cast("TextIO", stream)):
        try:
            yield
        finally:
            stream.let_go()


def lead_nowhere(stream: TextIO) -> None:
    """Let a stream's file go nowhere, with all that Python still wants to flush into it."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)


class _Optional(io.TextIOBase):
    """A text stream that falls silent for good when it cannot be written.

    A log on a full disk, a ``head`` that has read enough, a terminal that was closed: what is said
    to people never decides what becomes of the job.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def let_go(self) -> None:
        """Bring out what was written, and leave the stream to others, who may close it."""
        self.flush()
        self._stream = None

    def write(self, text: str) -> int:
        with self._silenced_by_failure():
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._silenced_by_failure():
            if self._stream is not None:
                self._stream.flush()

    @contextlib.contextmanager
    def _silenced_by_failure(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError:
            stream, self._stream = self._stream, None
            # Half of a line may be in the stream's buffer, for Python to fail with at its exit.
            with contextlib.suppress(OSError):
                if stream is not None:
                    lead_nowhere(stream)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8" if self._stream is None else self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return "backslashreplace" if self._stream is None else self._stream.errors
