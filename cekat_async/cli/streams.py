"""Standard output and standard error: missing characters, closed pipes and full disks."""

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
# In UTF-8: delete and the C1 control characters, and those that change the direction of text. JSON
# has other control characters as escapes only.
_CONTROLS = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)


def fill_standard_descriptors() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next connection or file would get that number, and whatever writes to standard
    error would write into it. uvloop aborts the process in that case.
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
        # It may be closed by now, or on a full disk. The code that wrote to it reports that.
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
    """Whether standard output is a terminal. Call it first, so that no request is wasted.

    Raises:
        TargetError: Standard output is closed.
    """
    return _get_stdout().isatty()


def write_stdout(lines: Iterable[bytes]) -> None:
    """Write to standard output, byte for byte.

    Raises:
        BrokenPipeError: The process that read it has ended.
        TargetError: It cannot be written, for example because the disk is full.
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

    They are written byte for byte, but a terminal gets an escape such as ``\u009b`` for each
    character that would control it. The value stays the same.
    """
    if is_terminal():
        lines = (_CONTROLS.sub(_escape, line) for line in lines)
    write_stdout(line + b"\n" for line in lines)


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def _get_stdout() -> TextIO:
    if sys.stdout is None:  # closed before this process began, as by ``>&-``
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
    """Let every write to standard error succeed, even if nothing can be written there."""
    stream = _OptionalStream(sys.stderr)
    with contextlib.redirect_stderr(cast("TextIO", stream)):
        try:
            yield
        finally:
            stream.release()


class _OptionalStream(io.TextIOBase):
    """A text stream that drops everything after its first failed write.

    A full disk, a closed terminal or a ``head`` that has read enough must not end the job.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def release(self) -> None:
        """Flush, and leave the stream to others, who may close it."""
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
            # Python would fail at exit if half a line were left in the buffer.
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
