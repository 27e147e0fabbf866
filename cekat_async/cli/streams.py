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
# In UTF-8: delete, the C1 control characters, and characters that change the direction of text. In
# JSON, other control characters are always escaped.
_CONTROLS = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)


def fill_standard_descriptors() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next connection or file would get this number, and messages for standard error
    would be written into it. uvloop aborts the process in this case.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            pass
        os.close(descriptor)


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
        # It may be closed by now, or on a full disk. The code that wrote to it reports this.
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(errors=errors)


def can_encode(encoding: str | None, text: str) -> bool:
    """Whether an encoding has all characters of a text."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_terminal() -> bool:
    """Whether standard output is a terminal. Call this before the first request.

    Raises:
        TargetError: Standard output is closed.
    """
    return _get_stdout().isatty()


def write_stdout(lines: Iterable[bytes]) -> None:
    """Write to standard output, byte for byte.

    Raises:
        BrokenPipeError: The process that read the pipe has ended.
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
    r"""Write lines of JSON to standard output, each with a line break; see :func:`write_stdout`.

    The bytes are written unchanged. On a terminal, however, an escape such as ``\u009b`` replaces
    each character that would control the terminal. The JSON value stays the same.
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
    """Make every write to standard error succeed, even if nothing can be written there."""
    stream = _OptionalStream(sys.stderr)
    with contextlib.redirect_stderr(cast("TextIO", stream)):
        try:
            yield
        finally:
            stream.release()


class _OptionalStream(io.TextIOBase):
    """A text stream that drops everything after its first failed write.

    A full disk, a closed terminal, or a ``head`` that has exited must not end the job.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def release(self) -> None:
        """Flush, and detach the stream, which its owner may close."""
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
            # Otherwise Python would fail at exit, because half a line is left in the buffer.
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
