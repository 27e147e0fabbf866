"""The sink for a Parquet file. The sink for a folder is in ``parquet_folder.py``."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from cekat_async import TargetError
from cekat_async.export.sinks.files.base import BATCH, FileSink, batched
from cekat_async.frames.arrow import ArrowBuilder
from cekat_async.frames.arrow_arrays import BufferArrays
from cekat_async.frames.columns import describe_differences

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output

__all__ = ["ParquetFormat", "ParquetSink"]


# The limits of a row group, which is in memory while it is written or read. A group ends when it
# reaches either limit.
_GROUP_ROWS = 4_000
_GROUP_BYTES = 4 << 20

_PAUSE = 0.000_1


class ParquetSink(FileSink):
    """A Parquet file with the columns :data:`~cekat_async.frames.columns.COLUMNS`.

    Texts are ``string``, and times are ``timestamp[us, UTC]``. ``labels`` is a list of structs of
    ``id``, ``name`` and ``color``. Every other nested value is JSON in a ``string``. Even a column
    without values has its type, so that you can combine the files of different exports.

    The last column, ``raw``, is the record exactly as the API sent it. However, U+FFFD replaces
    bytes that are not UTF-8, because a ``string`` cannot contain them.

    Args:
        path: The file. An existing file is replaced only if it has the same columns.

    Raises:
        MissingExtraError: The ``parquet`` extra is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._format = ParquetFormat()

    def check_replaceable(self) -> None:
        """Raise unless the file can be written. An existing file must be the table of an export."""
        super().check_replaceable()
        if self.path.exists():
            self._format.check(self.path)

    def write(self, records: Records, output: Output) -> None:
        """Write all records as one file."""
        self._format.write(chain.from_iterable(records), output)

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the records from the column ``raw``."""
        return self._format.read(file)


class ParquetFormat:
    """Writes, reads and checks Parquet files. Creating an object imports the library pyarrow.

    Raises:
        MissingExtraError: The ``parquet`` extra is not installed.
    """

    def __init__(self) -> None:
        self._builder = ArrowBuilder(BufferArrays("parquet"))
        self._schema = self._builder.schema
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

        self._parquet: Any = pq

    def write(self, records: Iterator[bytes], output: Output) -> None:
        """Write a whole file of records."""
        names: list[str] = self._schema.names
        # All ids are different, and so are all raw records, so a dictionary for them would only
        # take time.
        dictionary = [name for name in names if name not in {"id", "raw"}]
        with self._parquet.ParquetWriter(
            _OutputFile(output),
            self._schema,
            compression="zstd",
            use_dictionary=dictionary,
            write_statistics=[name for name in names if name != "raw"],
        ) as writer:
            for group in self._build_row_groups(records):
                writer.write_table(group)

    def _build_row_groups(self, records: Iterator[bytes]) -> Iterator[Any]:
        batches: list[Any] = []
        rows = size = 0
        for chunk in batched(records):
            batches.append(self._builder.build_batch(chunk))
            # Let other threads run: Arrow itself releases the interpreter lock too briefly.
            time.sleep(_PAUSE)
            rows += len(chunk)
            size += sum(map(len, chunk))
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                yield self._builder.build_table(batches)
                batches = []
                rows = size = 0
        if batches:
            yield self._builder.build_table(batches)

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the records of a whole file."""
        binary = self._builder.pyarrow.binary()
        with self._parquet.ParquetFile(file) as table:
            # Open one group at a time, because pyarrow otherwise keeps all groups in memory.
            for group in range(table.num_row_groups):
                for batch in table.iter_batches(
                    BATCH, row_groups=[group], columns=["raw"], use_threads=False
                ):
                    yield from batch.column(0).cast(binary).to_pylist()

    def check(self, path: Path) -> None:
        """Raise TargetError unless a file has the columns of an export."""
        with path.open("rb") as file:
            try:
                found = self._parquet.read_schema(file)
            except (self._builder.pyarrow.ArrowException, OSError) as error:
                raise TargetError(
                    f"{path} is not a Parquet file: move it away, or choose another target"
                ) from error
        if not found.equals(self._schema):
            differences = describe_differences(_get_types(found), _get_types(self._schema))
            raise TargetError(
                f"{path} has other columns than an export: "
                f"{'; '.join(differences) or 'they are in another order'}. Move it away, or "
                "choose another target"
            )


class _OutputFile:
    """An adapter that makes an ``Output`` look like a file, for pyarrow."""

    closed = False

    def __init__(self, output: Output) -> None:
        self._output = output
        self._has_failed = False

    def write(self, data: Any) -> None:
        """Write ``data``. Do nothing after an error, because pyarrow still writes a footer."""
        if self._has_failed:
            return
        try:
            self._output.write(data)
        except BaseException:
            self._has_failed = True
            raise


def _get_types(schema: Any) -> dict[str, object]:
    return {field.name: field.type for field in schema}
