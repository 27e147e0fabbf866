"""The sink for a folder of Parquet files."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from itertools import chain, islice
from typing import TYPE_CHECKING

from cekat_async import ConfigurationError, TargetError
from cekat_async.export.sinks.file_system import (
    CHUNK,
    add_suffix,
    copy_rights,
    durable_file,
    hash_file,
    sync_folder,
    translate_os_errors,
)
from cekat_async.export.sinks.files.base import Output, ReplacedSink, batched
from cekat_async.export.sinks.files.parquet import ParquetFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cekat_async.export.sinks.base import Records

__all__ = ["ParquetFolderSink"]

_PART = re.compile(r"part-(\d{5}|[1-9]\d{5,})\.parquet")
_OWNER_ONLY = 0o700


class ParquetFolderSink(ReplacedSink):
    """A folder of Parquet files ``part-00000.parquet``, …. Each export replaces the folder.

    Each part is like the file of a :class:`~cekat_async.export.sinks.files.parquet.ParquetSink`.
    The sink writes the parts to ``TARGET.new``. When they are complete and on the disk, it renames
    the old folder to ``TARGET.old``, and the new folder to ``TARGET``. In between, there is no
    folder ``TARGET``. If the process is killed at that moment, the next export restores the old
    folder. If the folder contains any other file, the sink refuses to replace it, so that no other
    file is deleted.

    The manifest, ``TARGET.manifest.json``, is next to the folder. The checksum in it is the output
    of ``sha256sum part-* | sha256sum`` in the folder. Only the owner can access a new folder and
    its files (modes 0700 and 0600). If they replace an old folder and its files, they get the same
    access rights.

    Args:
        path: The folder. If it is a symbolic link, the sink replaces the folder that the link leads
            to.
        rows_per_part: The number of records in each part. The last part may have fewer.

    Raises:
        MissingExtraError: The ``parquet`` extra is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, rows_per_part: int = 100_000) -> None:
        if rows_per_part < 1:
            raise ConfigurationError(f"rows_per_part must be at least 1, not {rows_per_part}")
        super().__init__(path)
        self._format = ParquetFormat()
        self._rows_per_part = rows_per_part
        self._old = add_suffix(self.path, ".old")
        self.rights_source = self.path / _name_part(0)

    def recover(self) -> None:
        """Restore the old folder if the target is missing. Otherwise, remove the old folder."""
        if not self._old.is_dir():
            return
        if self.path.exists():
            self.remove_old()
        else:
            self._old.rename(self.path)

    def check_replaceable(self) -> None:
        """Check that the present folder may be replaced, and create an empty new folder."""
        if self._old.exists():  # not from an export: `recover` would have removed it
            raise FileExistsError(errno.EEXIST, "it is in the way: move it", str(self._old))
        if self.path.exists():
            self._check_folder()
        self.remove_new()
        self.new.mkdir(_OWNER_ONLY)
        self.new.rmdir()

    def stored(self) -> Iterator[list[bytes]]:
        """Return the records of all parts, in order."""
        with translate_os_errors(self.target):
            for part in _list_parts(self.path):
                with part.open("rb", buffering=CHUNK) as file:
                    yield from batched(self._format.read(file))

    def write_new(self, records: Records) -> str:
        """Write the new folder."""
        self.remove_new()
        self.new.mkdir(_OWNER_ONLY)
        rest = chain.from_iterable(records)
        hashes: dict[str, str] = {}
        # Write at least one part, because a folder without parts would have no columns.
        while (first := list(islice(rest, 1))) or not hashes:
            name = _name_part(len(hashes))
            part = chain(first, islice(rest, self._rows_per_part - 1))
            hashes[name] = self._write_part(self.new / name, part)
        self._copy_folder_rights()
        sync_folder(self.new)
        return _combine_hashes(hashes.items())

    def take_name(self) -> None:
        """Rename the old folder, and then give its name to the new folder."""
        if not self.path.exists():
            self.new.rename(self.path)
            return
        _list_parts(self.path)  # raises if another file was put there in the meantime
        self.path.rename(self._old)
        try:
            self.new.rename(self.path)
        except BaseException:
            self._old.rename(self.path)
            raise

    def remove_new(self) -> None:
        """Remove the new folder, if there is one."""
        _remove_folder(self.new)

    def remove_old(self) -> None:
        """Remove the old folder, if there is one."""
        _remove_folder(self._old)
        sync_folder(self.path.parent)

    def checksum(self) -> str:
        """Return the checksum of the list of the parts' checksums."""
        if not self.path.exists():
            return ""
        return _combine_hashes(
            (part.name, hash_file(part, self.check)) for part in _list_parts(self.path)
        )

    def _check_folder(self) -> None:
        for part in _list_parts(self.path):
            self._format.check(part)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.target)

    def _write_part(self, path: Path, records: Iterator[bytes]) -> str:
        with durable_file(path, like=self.rights_source) as file:
            output = Output(file)
            self._format.write(records, output)
        return output.digest

    def _copy_folder_rights(self) -> None:
        if not hasattr(os, "O_DIRECTORY"):
            return
        folder = os.open(self.new, os.O_RDONLY | os.O_DIRECTORY)
        try:
            copy_rights(self.path, folder)
        finally:
            os.close(folder)


def _name_part(number: int) -> str:
    return f"part-{number:05}.parquet"


def _list_parts(folder: Path) -> list[Path]:
    """Return the parts in a folder, in order. Raise if the folder contains anything else."""
    if folder.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, "it is a symbolic link", str(folder))
    parts: dict[int, Path] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            found = _PART.fullmatch(entry.name)
            if not found or not entry.is_file(follow_symlinks=False):
                raise TargetError(
                    f"{folder} contains {entry.name}, which is not from an export: choose another "
                    "target, or move this file"
                )
            parts[int(found[1])] = folder / entry.name
    return [parts[number] for number in sorted(parts)]


def _remove_folder(folder: Path) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    for part in _list_parts(folder):
        part.unlink()
    folder.rmdir()


def _combine_hashes(hashes: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{digest}  {name}\n" for name, digest in hashes)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
