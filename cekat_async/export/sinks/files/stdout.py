"""Standard output as a target: for what stands behind a pipe."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import TargetError
from cekat_async.export.sinks.files.json_lines import lines_of

if TYPE_CHECKING:
    from pathlib import Path

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Records

__all__ = ["StdoutSink"]


class StdoutSink:
    """Standard output: one record a line, each exactly as the API sent it, once all have come.

    Nothing of it stays with us: it has no manifest, and no export can add to it. What went out is
    not taken back, so that a reader must look at the exit status, as behind any pipe. That its
    reader is gone is told as the :exc:`BrokenPipeError` that it is.

    Args:
        stream: Where to write to instead. By default what ``sys.stdout`` is when it is used.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self.target = "standard output"
        self.checkpoint: Path | None = None
        self._stream = stream

    def open(self) -> None:
        """Make sure that there is a standard output."""
        self._output()

    def manifest(self) -> Manifest | None:
        """Return ``None``: nobody knows what became of an earlier export."""
        return None

    def verify(self, manifest: Manifest) -> None:
        """Do nothing: there is no manifest to be true."""

    def stored(self) -> None:
        """Return ``None``: what was written once cannot be read again."""

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write all records."""
        output = self._output()
        for batch in records:
            self._write(output, lines_of(batch))
        self._write(output, b"")
        return manifest

    def close(self) -> None:
        """Do nothing: others write to the stream as well."""

    def _output(self) -> BinaryIO:
        stream = self._stream or getattr(sys.stdout, "buffer", None)
        if stream is None or stream.closed:
            raise TargetError("cannot write standard output: it is closed")
        return stream

    def _write(self, output: BinaryIO, data: bytes) -> None:
        """Write all of some bytes, also to a stream that takes a part of them at a time."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[_written(output, rest) :]
            output.flush()
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:  # the latter if somebody closed it
            reason = getattr(error, "strerror", None) or error
            raise TargetError(f"cannot write {self.target}: {reason}") from error


def _written(output: BinaryIO, data: memoryview) -> int:
    # Nothing at all is what a raw stream says that does not wait for its reader.
    count: int | None = output.write(data)
    if count is None:
        raise BlockingIOError(errno.EAGAIN, "its reader is too slow for a non-blocking stream")
    return count
