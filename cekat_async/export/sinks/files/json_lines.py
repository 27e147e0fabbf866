"""The sinks for JSON Lines: each record exactly as the API sent it, plain or compressed."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import MissingExtraError
from cekat_async.export.sinks.files.base import FileSink

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output

__all__ = ["GzipJsonLinesSink", "JsonLinesSink", "ZstdJsonLinesSink", "join_lines"]

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_CHUNK = 1 << 17


class JsonLinesSink(FileSink):
    """A file with one record per line, each exactly as the API sent it.

    The only change is that the sink removes line breaks between two tokens of a record, because
    JSON Lines forbids them.
    """

    def write(self, records: Records, output: Output) -> None:
        """Write one record per line."""
        for batch in records:
            output.write(join_lines(batch))

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the lines."""
        return _split_lines(file)


class GzipJsonLinesSink(FileSink):
    """A gzip file with one record per line, each exactly as the API sent it.

    The same records always give the same file, because the file contains neither a time nor a name.
    If the programs that read your files support Zstandard, use :class:`ZstdJsonLinesSink`: its
    files are smaller, and it is several times faster.
    """

    def write(self, records: Records, output: Output) -> None:
        """Write one record per line, all in one gzip stream."""
        # Unlike the gzip module, zlib writes a header without the time.
        compressor = zlib.compressobj(_GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)
        for batch in records:
            output.write(compressor.compress(join_lines(batch)))
        output.write(compressor.flush())

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the lines."""
        with gzip.GzipFile(fileobj=file, mode="rb") as lines:
            yield from _split_lines(lines)


class ZstdJsonLinesSink(FileSink):
    """A Zstandard file with one record per line, each exactly as the API sent it.

    With the same version of the library, the same records always give the same file.

    Raises:
        MissingExtraError: The ``zstd`` extra is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        try:
            import zstandard  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtraError(
                "zstd files need zstandard: pip install 'cekat-async[zstd]'"
            ) from error
        self._zstd = zstandard

    def write(self, records: Records, output: Output) -> None:
        """Write one record per line, all in one Zstandard frame."""
        compressor = self._zstd.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        stream = compressor.compressobj()
        for batch in records:
            output.write(stream.compress(join_lines(batch)))
        output.write(stream.flush())

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the lines."""
        reader = self._zstd.ZstdDecompressor().stream_reader(file, closefd=False)
        # The reader itself cannot split its bytes into lines.
        with io.BufferedReader(reader, _CHUNK) as lines:
            yield from _split_lines(lines)


def join_lines(batch: list[bytes]) -> bytes:
    """Return records as lines."""
    return b"\n".join([*batch, b""])


def _split_lines(file: Iterable[bytes]) -> Iterator[bytes]:
    return (line.removesuffix(b"\n") for line in file)
