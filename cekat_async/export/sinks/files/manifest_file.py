"""The file that contains the manifest, next to a target that each export replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async.export.sinks.base import parse_manifest
from cekat_async.export.sinks.file_system import add_suffix, durable_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cekat_async.export.manifest import Manifest

__all__ = ["ManifestFile"]


class ManifestFile:
    """The file ``TARGET.manifest.json``. A new manifest has the suffix ``.new`` at first.

    The new manifest is on the disk before the new target is renamed to the target's name. If the
    process ends in between, the checksum in the manifest shows whether it belongs to the new or the
    old target.
    """

    def __init__(self, target: Path) -> None:
        self.path = add_suffix(target, ".manifest.json")
        self.new = add_suffix(self.path, ".new")

    def read(self) -> Manifest | None:
        """Return the manifest, or ``None`` if this version cannot read it."""
        return parse_manifest(self.path.read_bytes())

    def write_new(self, manifest: Manifest, *, like: Path) -> None:
        """Write a new manifest to the disk, with the access rights of another file."""
        with durable_file(self.new, like=like) as file:
            file.write(manifest.to_json())
        sync_folder(self.path.parent)

    def replace(self) -> None:
        """Rename the new manifest to its final name."""
        self.new.replace(self.path)
        sync_folder(self.path.parent)

    def recover(self, checksum: Callable[[], str]) -> None:
        """Rename the new manifest if it contains the target's checksum. Otherwise, remove it."""
        manifest = parse_manifest(self.new.read_bytes())
        if manifest and manifest.checksum == checksum():
            self.new.replace(self.path)
        else:
            self.remove_new()

    def remove_new(self) -> None:
        """Remove the new manifest, if there is one."""
        self.new.unlink(missing_ok=True)
