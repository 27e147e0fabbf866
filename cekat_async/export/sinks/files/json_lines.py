"""JSON Lines: each record exactly as the API sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from cekat_async.export.sinks.files.base import FileSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output

__all__ = ["JsonLinesSink", "join_lines", "split_lines"]


class JsonLinesSink(FileSink):
    """A file with one record per line, each exactly as the API sent it.

    Only line breaks between two tokens of a record, which JSON Lines cannot hold, are left out.
    """

    def write(self, records: Records, output: Output) -> None:
        """Write one record per line."""
        for batch in records:
            output.write(join_lines(batch))

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the lines."""
        return split_lines(file)


def join_lines(batch: list[bytes]) -> bytes:
    """Return records as lines."""
    return b"".join([record + b"\n" for record in batch])


def split_lines(file: Iterable[bytes]) -> Iterator[bytes]:
    """Return the lines of a file without their line breaks."""
    return (line.removesuffix(b"\n") for line in file)
