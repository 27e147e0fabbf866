"""The manifest of a target that is replaced: a file next to it."""

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
    """The file ``TARGET.manifest.json``, and ``TARGET.manifest.json.new`` until it takes that name.

    The new manifest is on the disk before the new target takes the target's name. If the process
    ends in between, the manifest's checksum tells which target it belongs to.
    """

    def __init__(self, target: Path) -> None:
        self.path = add_suffix(target, ".manifest.json")
        self.new = add_suffix(self.path, ".new")

    def read(self) -> Manifest | None:
        """Return the manifest; ``None`` if this version cannot read it."""
        return parse_manifest(self.path.read_bytes())

    def write_new(self, manifest: Manifest, *, like: Path) -> None:
        """Write a new manifest to the disk, with the rights of another file."""
        with durable_file(self.new, like=like) as file:
            file.write(manifest.to_json())
        sync_folder(self.path.parent)

    def replace(self) -> None:
        """Let the new manifest take its name."""
        self.new.replace(self.path)
        sync_folder(self.path.parent)

    def recover(self, checksum: Callable[[], str]) -> None:
        """Let the new manifest take its name if it has the target's checksum, or else remove it."""
        manifest = parse_manifest(self.new.read_bytes())
        if manifest and manifest.checksum == checksum():
            self.new.replace(self.path)
        else:
            self.remove_new()

    def remove_new(self) -> None:
        """Remove the new manifest, if there is one."""
        self.new.unlink(missing_ok=True)
