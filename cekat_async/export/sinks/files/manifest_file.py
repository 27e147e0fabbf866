"""The manifest of a target that is replaced: a file next to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async.export.sinks.base import parse_manifest
from cekat_async.export.sinks.file_system import add_suffix, durable_file, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from cekat_async.export.manifest import Manifest

__all__ = ["ManifestFile"]


class ManifestFile:
    """The file ``TARGET.manifest.json``, and ``TARGET.manifest.json.new`` until it takes that name.

    The new manifest is on the disk before the new target takes the target's name. If the process
    ends in between, the manifest's checksum tells which target it belongs to.

    Args:
        target: The target.
    """

    def __init__(self, target: Path) -> None:
        self._path = add_suffix(target, ".manifest.json")
        self._new = add_suffix(self._path, ".new")

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._path.name

    @property
    def is_pending(self) -> bool:
        """Whether there is a new manifest that has not taken its name."""
        return self._new.exists()

    def exists(self) -> bool:
        """Return whether there is a manifest."""
        return self._path.exists()

    def read(self) -> Manifest | None:
        """Return the manifest; ``None`` if this version cannot read it."""
        return parse_manifest(self._path.read_bytes())

    def write_new(self, manifest: Manifest, *, like: Path) -> None:
        """Write a new manifest to the disk, with the rights of another file."""
        with durable_file(self._new, like=like) as file:
            file.write(manifest.to_json())
        sync_folder(self._path.parent)

    def replace(self) -> None:
        """Let the new manifest take its name."""
        self._new.replace(self._path)
        sync_folder(self._path.parent)

    def recover(self, checksum: str) -> None:
        """Let the new manifest take its name if it belongs to the target, or else remove it.

        Args:
            checksum: The checksum of the target.
        """
        manifest = parse_manifest(self._new.read_bytes())
        if manifest and manifest.checksum == checksum:
            self._new.replace(self._path)
        else:
            self.remove_new()

    def remove_new(self) -> None:
        """Remove the new manifest, if there is one."""
        self._new.unlink(missing_ok=True)
