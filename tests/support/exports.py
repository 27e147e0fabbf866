"""Functions that read targets, accounts and manifests, for tests of exports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cekat_async.export import Manifest, sink_for

if TYPE_CHECKING:
    from pathlib import Path

    from cekat_async.sandbox import Sandbox


def read_target(target: str | Path) -> list[bytes]:
    """Return the sorted records of a target, which is a file or a folder."""
    return sorted(line for batch in sink_for(str(target)).stored() or () for line in batch)


def read_account(sandbox: Sandbox, *inbox_ids: str) -> list[bytes]:
    """Return a sandbox's records, sorted: all records, or only those of the given inboxes."""
    found = sorted(record for _, record in sandbox.records())
    if inbox_ids:
        found = [record for record in found if json.loads(record)["inbox_id"] in inbox_ids]
    return found


def read_manifest(target: str | Path) -> Manifest:
    """Return the manifest next to a target."""
    path = str(target).rstrip("/") + ".manifest.json"
    with open(path, "rb") as file:  # noqa: PTH123 - a text, for its slash
        return Manifest.from_json(file.read())


def read_files(folder: Path) -> dict[Path, bytes]:
    """Return the content of each file in a folder, by path. Omit empty journals."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (path.stat().st_size or not path.name.endswith("-journal"))
    }
