"""Lazy module attributes (PEP 562): public names whose modules are imported on first use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

__all__ = ["at_first_use"]


def at_first_use(
    package: str, homes: Mapping[str, Iterable[str]], load: Callable[[str], object]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package.

    Hide both from type checkers. Otherwise they accept any name as one of the package's.

    Args:
        package: The package's name.
        homes: The modules that are imported lazily, and the package's names that each defines.
        load: Imports one of these modules. It has an import statement for each, because tools that
            bundle programs (PyInstaller) do not see an import by a computed name.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def module(home: str) -> ModuleType:
        load(home)
        # Not read from the package: while the module is still being imported, that would end here.
        return sys.modules[f"{package}.{home}"]

    def get(name: str) -> object:
        if name in homes:
            return module(name)
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(module(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return get, names
