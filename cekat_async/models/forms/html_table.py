"""HTML tables for notebooks. All text is escaped, because anyone can write names and messages."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["build_fields_table", "build_table"]

# The limits of a table and of a cell keep a notebook readable and its file small.
_MOST_ROWS = 20
_MOST_FIELDS = 60
_LONGEST_CELL = 100
# Without these CSS classes, notebooks show text between dollar signs as a formula.
_TABLE = '<table class="dataframe tex2jax_ignore mathjax_ignore">'
# Each cell has its own text direction, so that right-to-left text does not reverse the row.
_CELL = '<td dir="auto" style="text-align: start">'


def build_table(caption: str, rows: Iterable[Mapping[str, Any]], count: int) -> str:
    """Return a table with one row for each of the first records.

    Args:
        caption: The text above the table.
        rows: The cells of each row, by column name. All rows have the same columns.
        count: The total number of rows, including rows that are not shown.
    """
    first = [*islice(rows, _MOST_ROWS)]
    head = "".join(f"<th>{_show(name)}</th>" for name in (first[0] if first else ()))
    body = "".join(_build_row(row.values()) for row in first)
    rest = f"<p>… and {count - len(first):,} more</p>" if count > len(first) else ""
    return f"{_open(caption)}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def build_fields_table(caption: str, fields: Mapping[str, Any]) -> str:
    """Return a table with one row (name and value) for each field that has a value."""
    found = [(name, value) for name, value in fields.items() if value not in (None, "", [], {})]
    shown = found[:_MOST_FIELDS]
    body = "".join(f"<tr><th>{_show(name)}</th>{_build_cell(value)}</tr>" for name, value in shown)
    rest = f"<p>… and {len(found) - len(shown):,} more</p>" if len(found) > len(shown) else ""
    return f"{_open(caption)}<tbody>{body}</tbody></table>{rest}"


def _open(caption: str) -> str:
    return f"{_TABLE}<caption>{_show(caption, 4 * _LONGEST_CELL)}</caption>"


def _build_row(cells: Iterable[Any]) -> str:
    return f"<tr>{''.join(map(_build_cell, cells))}</tr>"


def _build_cell(value: Any) -> str:
    return f"{_CELL}{_show(value)}</td>"


def _show(value: Any, at_most: int = _LONGEST_CELL) -> str:
    """Return a value as one short line of escaped text."""
    from html import escape  # noqa: PLC0415 - only notebooks need it

    return escape(one_line(_to_text(value), at_most))


def _to_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool() | dict() | list():
            return msgspec.json.encode(value).decode()
        case datetime():
            return value.isoformat(" ", "seconds")
        case _:
            return str(value)
