"""Lists the installed libraries, and the libraries that ``cekat doctor`` suggests."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from cekat_async import __version__
from cekat_async.cli.commands.doctor.findings import Finding, skip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["describe_program", "list_extras"]

_PACKAGE = "cekat-async"
_CORE = ("aiohttp", "msgspec")
# These extras are not listed, because they are for developers or always installed.
_OTHERS = {"cli", "targets", "test"}
_PURPOSES: Mapping[str, str] = {
    "uvloop": "a faster event loop",
    "zstd": ".jsonl.zst",
    "parquet": ".parquet",
    "duckdb": ".duckdb",
    "postgres": "postgresql://",
    "redis": "RedisBudget",
    "file": "FileBudget",
    "arrow": "Arrow tables",
    "polars": "polars DataFrames",
    "pandas": "pandas DataFrames",
    "otel": "OpenTelemetry",
}
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*;(?P<marker>.*)\bextra == ['\"](?P<extra>[^'\"]+)")


def describe_program() -> Finding:
    """Return the versions of this program, of Python, and of the client's dependencies."""
    libraries = ", ".join(f"{name} {_find_version(name)}" for name in _CORE)
    python = f"Python {platform.python_version()} on {platform.system()}"
    return Finding("version", f"cekat {__version__}, {python}, {libraries}")


def list_extras() -> list[Finding]:
    """Return a finding for each extra: its installed libraries, or the command to install them."""
    try:
        requirements = metadata.requires(_PACKAGE) or ()
    except metadata.PackageNotFoundError:
        return [skip("extras", f"unknown: {_PACKAGE} is not installed, only imported")]
    return [_check(extra, names) for extra, names in _group(requirements).items()]


def _group(requirements: Iterable[str]) -> dict[str, list[str]]:
    """Return the libraries of each extra that is useful on this system."""
    extras: dict[str, list[str]] = {}
    for found in filter(None, map(_REQUIREMENT.match, requirements)):
        if found["extra"] not in _OTHERS and _is_for_this_system(found["marker"]):
            extras.setdefault(found["extra"], []).append(found["name"])
    return extras


def _is_for_this_system(marker: str) -> bool:
    others = "sys_platform " + ("!=" if sys.platform == "win32" else "==")
    return f"{others} 'win32'" not in marker.replace('"', "'")


def _check(extra: str, names: list[str]) -> Finding:
    purpose = _PURPOSES.get(extra)
    title = f"{extra} ({purpose})" if purpose else extra
    versions = {name: _find_version(name) for name in names}
    if all(versions.values()):
        installed = ", ".join(f"{name} {version}" for name, version in versions.items())
        return Finding("extra", f"{title}: {installed}")
    return skip("extra", f"{title} is not installed: pip install '{_PACKAGE}[{extra}]'")


def _find_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
