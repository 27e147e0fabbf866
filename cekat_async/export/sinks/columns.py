"""How the columns of a table differ from those of an export, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["describe_differences", "describe_missing"]

_SHOWN = 5


def describe_differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """Return how columns differ from those of an export, a text for each kind of difference.

    Args:
        found: The name and the type of each column.
        expected: The same of an export.
    """
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    changed = [
        f"{name} is {found[name]} and not {type_}"
        for name, type_ in expected.items()
        if name in found and found[name] != type_
    ]
    return [
        *([describe_missing(*missing)] if missing else []),
        *([f"it also has {_shorten(extra)}"] if extra else []),
        *([_shorten(changed)] if changed else []),
    ]


def describe_missing(*names: str) -> str:
    """Return the text for columns that a table lacks."""
    return f"it has no column {_shorten(names)}"


def _shorten(texts: Sequence[str]) -> str:
    rest = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
