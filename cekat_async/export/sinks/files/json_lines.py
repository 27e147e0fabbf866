"""JSON Lines: each record exactly as the API sent it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from cekat_async.export.sinks.files.base import FileSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output

__all__ = ["JsonLinesSink", "batches_of_lines", "lines_of"]

_BATCH = 100


class JsonLinesSink(FileSink):
    """A file with one record a line, each exactly as the API sent it.

    Only a line break between two tokens of a record, which JSON Lines cannot hold, is left away.
    """

    def write(self, records: Records, output: Output) -> None:
        """Write a record a line."""
        for batch in records:
            output.write(lines_of(batch))

    def read(self, file: BinaryIO) -> Iterator[list[bytes]]:
        """Return the lines."""
        return batches_of_lines(file)


def lines_of(batch: list[bytes]) -> bytes:
    """Return records as lines."""
    return b"".join([record + b"\n" for record in batch])


def batches_of_lines(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Return lines without their ends, in batches."""
    iterator = iter(lines)
    while batch := [line.removesuffix(b"\n") for line in islice(iterator, _BATCH)]:
        yield batch
