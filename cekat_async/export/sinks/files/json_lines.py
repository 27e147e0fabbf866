"""JSON Lines: each record exactly as the API sent it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from cekat_async.export.sinks.files.base import FileSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output

__all__ = ["JsonLinesSink", "join_lines", "split_into_batches"]

_BATCH = 100


class JsonLinesSink(FileSink):
    """A file with one record per line, each exactly as the API sent it.

    Only line breaks between two tokens of a record, which JSON Lines cannot hold, are left out.
    """

    def write(self, records: Records, output: Output) -> None:
        """Write one record per line."""
        for batch in records:
            output.write(join_lines(batch))

    def read(self, file: BinaryIO) -> Iterator[list[bytes]]:
        """Return the lines."""
        return split_into_batches(file)


def join_lines(batch: list[bytes]) -> bytes:
    """Return records as lines."""
    return b"".join([record + b"\n" for record in batch])


def split_into_batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Return lines, without their line breaks, in batches."""
    iterator = iter(lines)
    while batch := [line.removesuffix(b"\n") for line in islice(iterator, _BATCH)]:
        yield batch
