"""The sink for standard output, for the next program in a pipe."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import TargetError
from cekat_async.export.sinks.files.json_lines import join_lines

if TYPE_CHECKING:
    from pathlib import Path

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Records

__all__ = ["StdoutSink"]


class StdoutSink:
    """Standard output: one record per line, exactly as the API sent it.

    The records are written after all of them have been fetched. Nothing is stored: there is no
    manifest, and no later export can add to the output. Output cannot be undone, so the program
    that reads it must check the exit status of the export, as with any pipe. If that program has
    exited, the sink raises :exc:`BrokenPipeError`.

    Args:
        stream: The stream to write to. Default: ``sys.stdout`` at the time of writing.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self.target = "standard output"
        self.checkpoint: Path | None = None
        self._stream = stream

    def open(self) -> None:
        """Check that standard output is open."""
        self._get_output()

    def manifest(self) -> Manifest | None:
        """Return ``None``, because exports to standard output have no manifest."""
        return None

    def verify(self, manifest: Manifest) -> None:
        """No-op: there is no manifest."""

    def stored(self) -> None:
        """Return ``None``, because output cannot be read again."""

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write all records."""
        output = self._get_output()
        for batch in records:
            self._write(output, join_lines(batch))
        self._write(output, b"")
        return manifest

    def close(self) -> None:
        """No-op: the stream belongs to the process."""

    def _get_output(self) -> BinaryIO:
        stream = self._stream or getattr(sys.stdout, "buffer", None)
        if stream is None or stream.closed:
            raise TargetError("cannot write standard output: it is closed")
        return stream

    def _write(self, output: BinaryIO, data: bytes) -> None:
        """Write all bytes of ``data``, even if the stream accepts only a part of them per call."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[_write_some(output, rest) :]
            output.flush()
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:  # ValueError if the stream was closed
            reason = getattr(error, "strerror", None) or error
            raise TargetError(f"cannot write {self.target}: {reason}") from error


def _write_some(output: BinaryIO, data: memoryview) -> int:
    # A raw non-blocking stream returns None if it accepts nothing.
    count: int | None = output.write(data)
    if count is None:
        raise BlockingIOError(errno.EAGAIN, "its reader is too slow for a non-blocking stream")
    return count
