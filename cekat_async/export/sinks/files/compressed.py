"""JSON Lines in a compressed file, for archives and for transfers."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

from cekat_async import MissingExtraError
from cekat_async.export.sinks.files.base import FileSink
from cekat_async.export.sinks.files.json_lines import join_lines, split_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output

__all__ = ["GzipJsonLinesSink", "ZstdJsonLinesSink"]

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_CHUNK = 1 << 17


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class GzipJsonLinesSink(FileSink):
    """A gzip file with one record per line, each exactly as the API sent it.

    The same records make the same file: it contains neither a time nor a name. If your readers
    support Zstandard, :class:`ZstdJsonLinesSink` is smaller and several times faster.
    """

    def write(self, records: Records, output: Output) -> None:
        """Write one record per line, as one gzip stream."""
        # Unlike the gzip module, zlib writes a header without the time.
        compressor = zlib.compressobj(_GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)
        _write_compressed(records, compressor, output)

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the lines."""
        with gzip.GzipFile(fileobj=file, mode="rb") as lines:
            yield from split_lines(lines)


class ZstdJsonLinesSink(FileSink):
    """A Zstandard file with one record per line, each exactly as the API sent it.

    The same records and the same version of the library make the same file.

    Args:
        path: The file.

    Raises:
        MissingExtraError: The extra ``zstd`` is not installed.
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
        """Write one record per line, as one frame."""
        compressor = self._zstd.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        _write_compressed(records, compressor.compressobj(), output)

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the lines."""
        reader = self._zstd.ZstdDecompressor().stream_reader(file, closefd=False)
        # The reader itself cannot split its bytes into lines.
        with io.BufferedReader(reader, _CHUNK) as lines:
            yield from split_lines(lines)


def _write_compressed(records: Records, compressor: _Compressor, output: Output) -> None:
    for batch in records:
        output.write(compressor.compress(join_lines(batch)))
    output.write(compressor.flush())
