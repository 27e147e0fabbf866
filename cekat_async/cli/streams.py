"""Handles missing characters, closed pipes and full disks on standard output and error."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from typing import TYPE_CHECKING, TextIO, cast

from cekat_async import TargetError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = [
    "can_encode",
    "discard_stdout",
    "fill_standard_descriptors",
    "is_terminal",
    "lenient_stdout",
    "optional_stderr",
    "write_json_lines",
    "write_stdout",
]

_STDERR = 2
# The UTF-8 bytes of DEL, of C1 control characters, and of characters that change the direction of
# text. JSON always escapes other control characters.
_CONTROLS = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)


def fill_standard_descriptors() -> None:
    """Open the null device for each closed descriptor among 0, 1 and 2.

    Otherwise, the next connection or file would get the number of the closed descriptor, and
    messages for standard error might be written into it. uvloop even aborts the process in this
    case.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            pass
        os.close(descriptor)


@contextlib.contextmanager
def lenient_stdout() -> Generator[None, None, None]:
    """Make standard output write a question mark for each character that it cannot encode."""
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    errors = stream.errors
    stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        # Standard output may be closed by now, or its disk may be full. The code that wrote to it
        # reports this.
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(errors=errors)


def can_encode(encoding: str | None, text: str) -> bool:
    """Return whether an encoding has all characters of a text."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_terminal() -> bool:
    """Return whether standard output is a terminal. Call this before the first request.

    Raises:
        TargetError: Standard output is closed.
    """
    return _get_stdout().isatty()


def write_stdout(lines: Iterable[bytes]) -> None:
    """Write bytes to standard output unchanged.

    Raises:
        BrokenPipeError: The program that read from the pipe has exited.
        TargetError: Writing failed, for example because the disk is full.
    """
    stdout = _get_stdout().buffer
    try:
        stdout.writelines(lines)
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_stdout()
        reason = error.strerror or error
        raise TargetError(f"cannot write to standard output: {reason}") from error


def write_json_lines(lines: Iterable[bytes]) -> None:
    r"""Write lines of JSON to standard output, each with a line break.

    In a pipe or a file, the bytes are written unchanged. On a terminal, an escape such as
    ``\u009b`` replaces each character that would control the terminal. The JSON value stays the
    same. The errors are those of :func:`write_stdout`.
    """
    if is_terminal():
        lines = (_CONTROLS.sub(_escape, line) for line in lines)
    write_stdout(line + b"\n" for line in lines)


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def _get_stdout() -> TextIO:
    if sys.stdout is None:  # closed before this process began, for example with ``>&-``
        raise TargetError("cannot write to standard output: it is closed")
    return sys.stdout


def discard_stdout() -> None:
    """Redirect standard output to the null device, so that Python's last flush cannot fail."""
    if sys.stdout is not None:
        _redirect_to_null(sys.stdout)


def _redirect_to_null(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)


@contextlib.contextmanager
def optional_stderr() -> Generator[None, None, None]:
    """Make every write to standard error succeed, even if the text cannot be written."""
    stream = _OptionalStream(sys.stderr)
    with contextlib.redirect_stderr(cast("TextIO", stream)):
        try:
            yield
        finally:
            stream.release()


class _OptionalStream(io.TextIOBase):
    """A text stream that drops everything after its first failed write.

    Because of this, a full disk, a closed terminal, or a ``head`` that has exited does not end the
    job.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def release(self) -> None:
        """Flush the stream and detach it, so that its owner can close it."""
        self.flush()
        self._stream = None

    def write(self, text: str) -> int:
        with self._dropped_after_failure():
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropped_after_failure():
            if self._stream is not None:
                self._stream.flush()

    @contextlib.contextmanager
    def _dropped_after_failure(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError:
            stream, self._stream = self._stream, None
            # Without this, Python would fail at exit, because half a line is left in the buffer.
            with contextlib.suppress(OSError):
                if stream is not None:
                    _redirect_to_null(stream)

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
