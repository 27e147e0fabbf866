"""Formats records as a table for a terminal, or as tab-separated values for a pipe."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from cekat_async.cli.reporter import LONGEST_LINE
from cekat_async.cli.streams import can_encode
from cekat_async.redaction import one_line, readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import OverflowMethod

    from cekat_async.cli.commands.listing_columns import ShownColumn

__all__ = ["build_line", "build_table"]

# No column is cut to fewer characters.
_NARROWEST = 12
_LONGEST_ZONE = 5
_NO_OFFSET = timedelta()
# Control characters, and the separators of lines and paragraphs.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def build_table(records: Iterable[Any], columns: Sequence[ShownColumn], width: int) -> Table:
    """Return a table for a terminal of this width. Times are local."""
    rows = [[_get_value(column, record) for column in columns] for record in records]
    is_wide = any(column.fit == "fill" for column in columns)
    table = Table(box=None, pad_edge=False, header_style="bold", expand=is_wide)
    widest = max(_NARROWEST, width // (len(columns) + 1))
    for place, column in enumerate(columns):
        _add_column(table, column, widest, _describe_zones(row[place] for row in rows))
    year = datetime.now(UTC).astimezone().year
    for row in rows:
        cells = zip(row, columns, strict=True)
        table.add_row(*[_build_cell(value, column.fit, year) for value, column in cells])
    return table


def build_line(record: Any, columns: Sequence[ShownColumn]) -> bytes:
    """Return the complete values of a record, separated by tabs. Times are local."""
    texts = [_describe_exactly(_get_value(column, record)) for column in columns]
    return "\t".join(texts).encode() + b"\n"


def _add_column(table: Table, column: ShownColumn, widest: int, zones: str) -> None:
    title = f"{column.heading} ({zones})" if zones else column.heading
    heading = _fit(title, column.fit)
    if column.fit == "whole":
        # People copy ids, so a long one is wrapped instead of cut.
        table.add_column(heading, overflow="fold")
    elif column.fit == "cut":
        table.add_column(heading, max_width=widest)
    else:
        table.add_column(heading, ratio=1)


def _fit(text: str, fit: str) -> Text:
    """Return a text for a column. If the column may be cut, the text is one line."""
    if fit == "whole":
        return Text(text)
    # no_wrap is set on the text, not on the column: otherwise rich narrows all other columns first.
    return Text(text, no_wrap=True, overflow=_get_overflow())


def _get_overflow() -> OverflowMethod:
    """Return how to shorten text that is too long: with … if standard output can encode it."""
    return "ellipsis" if can_encode(getattr(sys.stdout, "encoding", None), "…") else "crop"


def _get_value(column: ShownColumn, record: Any) -> str | datetime | None:
    """Return a value. A time is converted to this machine's zone."""
    value: str | datetime | None = column.value(record)
    if not isinstance(value, datetime):
        return value
    try:
        return value.astimezone()
    except (OverflowError, OSError):  # at the ends of the calendar, and on Windows before 1970
        return None


def _describe_zones(values: Iterable[object]) -> str:
    """Return the names of the zones of all local times: ``WIB``, or ``CET/CEST``."""
    moments = [value for value in values if isinstance(value, datetime)]
    # Sorted by their offsets, so that summer time is last.
    zones = sorted({(moment.utcoffset() or _NO_OFFSET, _name_zone(moment)) for moment in moments})
    return "/".join(dict.fromkeys(name for _, name in zones))


def _name_zone(moment: datetime) -> str:
    name = moment.tzname() or ""
    # On Windows, the names are long, and depend on the system's language.
    is_short = name.isalpha() and name.isascii() and len(name) <= _LONGEST_ZONE
    return name if is_short else f"UTC{moment:%z}"


def _build_cell(value: str | datetime | None, fit: str, year: int) -> Text:
    """Return a cell for untrusted text: one line without markup or control characters."""
    if isinstance(value, datetime):
        value = f"{value:%m-%d %H:%M}" if value.year == year else f"{value:%Y-%m-%d}"
    return _fit(_clean(value), fit)


def _describe_exactly(value: str | datetime | None) -> str:
    """Return a complete value. A blank replaces each character that would end a field or line."""
    text = value.isoformat() if isinstance(value, datetime) else value or ""
    return _CONTROL.sub(" ", readable(text))


def _clean(value: str | None) -> str:
    return one_line(value or "", LONGEST_LINE)
