"""Add the project's address to the package's metadata. pyproject.toml has the address in one place.

A package index shows the README on its own page, where relative links lead nowhere. If the project
has an address, the links become absolute. Otherwise only their texts remain.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

README = "README.md"
# Either code, which is not changed, or a link or an image with a relative target.
CODE_OR_LINK = re.compile(
    r"^```.*?^```$|`[^`\n]*`"
    r"|(?P<image>!?)\[(?P<text>(?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]"
    r"\((?!\w+:|#)(?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


def resolve_links(markdown: str, address: str, version: str) -> str:
    """Make the relative links of a page absolute. Without an address, keep only their texts.

    The links of a release lead to its tag, so that they show the files of that time.
    """
    ref = "HEAD" if "dev" in version else f"v{version}"

    def replace(found: re.Match[str]) -> str:
        if found["target"] is None:
            return found[0]
        text = CODE_OR_LINK.sub(replace, found["text"])
        if not address:
            return text
        kind = "raw" if found["image"] else "blob"
        return f"{found['image']}[{text}]({address}/{kind}/{ref}/{found['target']})"

    return CODE_OR_LINK.sub(replace, markdown)


def build_urls(address: str) -> dict[str, str]:
    """Return the links that a package index lists next to the README."""
    if not address:
        return {}
    return {
        "Source": address,
        "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


class CustomMetadataHook(MetadataHookInterface):
    """Set the README and the links of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the dynamic fields of the metadata."""
        root = Path(self.root)
        tables = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        address = tables["tool"]["cekat"]["address"].rstrip("/")
        text = (root / README).read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": resolve_links(text, address, metadata["version"]),
        }
        metadata["urls"] = build_urls(address)
