"""Parquet: a table with types, for everything that analyses, as one file or a folder of parts."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import time
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from cekat_async import ConfigurationError, TargetError
from cekat_async.export.sinks.files.base import (
    CHUNK,
    FileSink,
    Hashed,
    ReplacedSink,
    beside,
    next_of,
    open_alone,
    put_manifest,
    require_folder_of,
    settle_manifest,
    sync_folder,
    take_rights,
    translate_os_errors,
)
from cekat_async.frames.arrow import Arrow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output

__all__ = ["ParquetFolderSink", "ParquetSink"]

_BATCH = 100

# A row group is in memory until it is written, and again when it is read: whichever is less.
_GROUP_ROWS = 4_000
_GROUP_BYTES = 4 << 20

_A_TURN = 0.000_1

_PART = re.compile(r"part-(\d{5}|[1-9]\d{5,})\.parquet")
_OWNER_ALONE = 0o700
_SHOWN = 5


class ParquetSink(FileSink):
    """A Parquet file of :data:`~cekat_async.frames.columns.COLUMNS`, whatever the records hold.

    Text is ``string``, a time ``timestamp[us, UTC]``, ``labels`` a list of structs of ``id``,
    ``name`` and ``color``, and all else that is nested JSON in a ``string``. A column without a
    value has its type all the same, so that files of different exports go together.

    The last column, ``raw``, is the record exactly as the API sent it, up to one thing: bytes that
    are not UTF-8, which JSON must be and a ``string`` is, are U+FFFD.

    Args:
        path: The file. One that is there is replaced if it has the same columns.

    Raises:
        MissingExtraError: The extra ``parquet`` is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._format = _Parquet()

    def prepare(self) -> None:
        """Make sure that the file can be written, and that no other table is in its place."""
        super().prepare()
        if self._real.exists():
            self._format.check(self._real)

    def write(self, records: Records, output: Output) -> None:
        """Write all records as one file."""
        self._format.write(chain.from_iterable(records), output)

    def read(self, file: BinaryIO) -> Iterator[list[bytes]]:
        """Return the records from the column ``raw``."""
        return self._format.read(file)


class ParquetFolderSink(ReplacedSink):
    """A folder of Parquet files ``part-00000.parquet``, …, made anew by each export.

    The parts are as :class:`ParquetSink` makes them. They are written to ``TARGET.new``, and when
    they are whole and on the disk that folder takes the name of the target. The old one is
    ``TARGET.old`` until then; for a moment there is neither, and if that is when the process is
    killed, the next export puts the old one back. A folder that holds anything but such parts is
    refused, so that nobody's files are deleted.

    The manifest is beside the folder, ``TARGET.manifest.json``. Its checksum is what
    ``sha256sum part-* | sha256sum`` prints in the folder. New folders and files are for their
    owner alone (modes 0700 and 0600); those that take another one's place take its rights.

    Args:
        path: The folder. A symbolic link stays one, as with a file.
        rows_per_part: How many records a part holds, all but the last.

    Raises:
        MissingExtraError: The extra ``parquet`` is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, rows_per_part: int = 100_000) -> None:
        if rows_per_part < 1:
            raise ConfigurationError(f"rows_per_part must be at least 1, not {rows_per_part}")
        super().__init__(path)
        self._format = _Parquet()
        self._rows_per_part = rows_per_part
        self._old = beside(self._real, ".old")

    def open(self) -> None:
        """Make sure that the folder can be replaced, and put in order what a crash left."""
        with translate_os_errors(self.target):
            require_folder_of(self._real, self.target)
            with self._lock.kept():
                self._settle()
                self._check_replaceable()
                _remove(self._new)
                self._new.mkdir(_OWNER_ALONE)
                self._new.rmdir()

    def stored(self) -> Iterator[list[bytes]]:
        """Return the records of all parts, in order."""
        with translate_os_errors(self.target):
            for part in _parts_of(self._real):
                with part.open("rb", buffering=CHUNK) as file:
                    yield from self._format.read(file)

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write the parts beside the folder, and let them take its place."""
        with translate_os_errors(self.target):
            try:
                checksum = self._write_parts(records)
                manifest = msgspec.structs.replace(manifest, checksum=checksum)
                put_manifest(self._manifest, manifest, like=self._real / _part(0))
                self._swap()
            except BaseException:
                with contextlib.suppress(OSError, TargetError):  # the first error counts
                    _remove(self._new)
                    next_of(self._manifest).unlink(missing_ok=True)
                raise
            self._finish()
        return manifest

    def checksum(self) -> str:
        """Return the checksum of the list of parts, each with its own."""
        if not self._real.exists():
            return ""
        return _checksum_of((part.name, _digest_of(part)) for part in _parts_of(self._real))

    def _write_parts(self, records: Records) -> str:
        """Write the new folder, and return its checksum."""
        _remove(self._new)
        self._new.mkdir(_OWNER_ALONE)
        rest = chain.from_iterable(records)
        sums: list[tuple[str, str]] = []
        # A folder without any part would have no columns: there is always a first one.
        while (first := list(islice(rest, 1))) or not sums:
            name = _part(len(sums))
            part = chain(first, islice(rest, self._rows_per_part - 1))
            sums.append((name, self._write_part(name, part)))
        self._take_folder_rights()
        sync_folder(self._new)
        return _checksum_of(sums)

    def _write_part(self, name: str, records: Iterator[bytes]) -> str:
        with open_alone(self._new / name) as file:
            output = Hashed(file)
            self._format.write(records, output)
            take_rights(file.fileno(), self._real / _part(0))
            file.flush()
            os.fsync(file.fileno())
        return output.digest

    def _take_folder_rights(self) -> None:
        if not hasattr(os, "O_DIRECTORY"):
            return
        folder = os.open(self._new, os.O_RDONLY | os.O_DIRECTORY)
        try:
            take_rights(folder, self._real)
        finally:
            os.close(folder)

    def _swap(self) -> None:
        """Put the new folder in the place of the old one, which cannot be done at once."""
        if not self._real.exists():
            self._new.rename(self._real)
            return
        _parts_of(self._real)  # raises if somebody has put a file there since
        self._real.rename(self._old)
        try:
            self._new.rename(self._real)
        except BaseException:
            self._old.rename(self._real)
            raise

    def _finish(self) -> None:
        """Delete the old folder, now that the new one has taken its name on the disk as well."""
        sync_folder(self._real.parent)
        # The manifest goes last: where it is still beside its place, the old folder is ours.
        _remove(self._old)
        sync_folder(self._real.parent)
        next_of(self._manifest).replace(self._manifest)
        sync_folder(self._real.parent)

    def _settle(self) -> None:
        """Put back the old folder if a crash left none, or delete it if the new one is there."""
        if next_of(self._manifest).exists() and self._old.is_dir():
            if self._real.exists():
                _remove(self._old)
            else:
                self._old.rename(self._real)
        settle_manifest(self._manifest, self.checksum)

    def _check_replaceable(self) -> None:
        if self._old.exists():  # somebody else's, or it would have been settled
            raise FileExistsError(errno.EEXIST, "it is in the way: move it", str(self._old))
        if not self._real.exists():
            return
        for part in _parts_of(self._real):
            self._format.check(part)
        if not os.access(self._real, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.target)


class _Parquet:
    """The format, and the library for it, which is imported when it is first wanted."""

    def __init__(self) -> None:
        self._arrow = Arrow()
        self._schema = self._arrow.schema
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

        self._parquet: Any = pq

    def write(self, records: Iterator[bytes], output: Output) -> None:
        """Write a whole file of records."""
        names: list[str] = self._schema.names
        # Of these there are no two alike: to look for some, and for the least, is for nothing.
        alike = [name for name in names if name not in {"id", "raw"}]
        with self._parquet.ParquetWriter(
            _File(output),
            self._schema,
            compression="zstd",
            use_dictionary=alike,
            write_statistics=[name for name in names if name != "raw"],
        ) as writer:
            for group in self._groups(records):
                writer.write_table(group)

    def _groups(self, records: Iterator[bytes]) -> Iterator[Any]:
        """Return tables of a moderate size, each to be a row group."""
        batches: list[Any] = []
        rows = size = 0
        while chunk := list(islice(records, _BATCH)):
            batches.append(self._arrow.batch_of(chunk))
            # Arrow lets other threads in so often, and so briefly, that none of them gets in time:
            # each try begins their wait for the interpreter anew.
            time.sleep(_A_TURN)
            rows += len(chunk)
            size += sum(map(len, chunk))
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                yield self._arrow.table_of(batches)
                batches = []
                rows = size = 0
        if batches:
            yield self._arrow.table_of(batches)

    def read(self, file: BinaryIO) -> Iterator[list[bytes]]:
        """Return the records of a whole file."""
        with self._parquet.ParquetFile(file) as table:
            # Asked for all groups at once it keeps those that it has read.
            for group in range(table.num_row_groups):
                for batch in table.iter_batches(
                    _BATCH, row_groups=[group], columns=["raw"], use_threads=False
                ):
                    yield batch.column(0).cast(self._arrow.arrow.binary()).to_pylist()

    def check(self, path: Path) -> None:
        """Raise if a file is no table of conversations."""
        with path.open("rb") as file:
            try:
                found = self._parquet.read_schema(file)
            except (self._arrow.arrow.ArrowException, OSError) as error:
                raise TargetError(f"{path} is not a Parquet file; choose another target") from error
        if not found.equals(self._schema):
            raise TargetError(
                f"{path} has other columns than an export: {self._difference(found)}; "
                "choose another target"
            )

    def _difference(self, found: Any) -> str:
        has = {field.name: field.type for field in found}
        wanted = {field.name: field.type for field in self._schema}
        differences = [
            *[f"{name} is missing" for name in wanted.keys() - has.keys()],
            *[f"{name} is not known" for name in has.keys() - wanted.keys()],
            *[
                f"{name} is {has[name]}, not {wanted[name]}"
                for name in wanted.keys() & has.keys()
                if has[name] != wanted[name]
            ],
        ]
        shown = sorted(differences)[:_SHOWN]
        more = [f"and {rest} more"] if (rest := len(differences) - len(shown)) else []
        return ", ".join([*shown, *more]) or "they are in another order"


class _File:
    """An output as pyarrow wants one, for a writer that writes its footer whatever happened."""

    closed = False

    def __init__(self, output: Output) -> None:
        self._output = output
        self._broken = False

    def write(self, data: Any) -> None:
        """Write all of some bytes, if nothing went wrong before: the file is thrown away then."""
        if self._broken:
            return
        try:
            self._output.write(memoryview(data))
        except BaseException:
            self._broken = True
            raise

    def flush(self) -> None:
        """Do nothing: whoever opened the output flushes it."""

    def close(self) -> None:
        """Do nothing, for the same reason."""


def _part(number: int) -> str:
    return f"part-{number:05}.parquet"


def _parts_of(folder: Path) -> list[Path]:
    """Return the parts in a folder, in order.

    Raises:
        TargetError: It holds something else, or is no folder.
    """
    if folder.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, "it is a symbolic link", str(folder))
    numbers: dict[int, Path] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            found = _PART.fullmatch(entry.name)
            if not found or not entry.is_file(follow_symlinks=False):
                raise TargetError(
                    f"{folder} holds {entry.name}, which no export made: choose another target, "
                    "or move that"
                )
            numbers[int(found[1])] = Path(entry.path)
    return [numbers[number] for number in sorted(numbers)]


def _remove(folder: Path) -> None:
    """Delete a folder of parts, if it is there, and nothing else."""
    if not folder.exists() and not folder.is_symlink():
        return
    for part in _parts_of(folder):
        part.unlink()
    folder.rmdir()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum_of(digests: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{digest}  {name}\n" for name, digest in digests)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
