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

# The minimum width of a column that is cut, in characters.
_NARROWEST = 12
_LONGEST_ZONE = 5
_NO_OFFSET = timedelta()
# Control characters, and Unicode's line and paragraph separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def build_table(records: Iterable[Any], columns: Sequence[ShownColumn], width: int) -> Table:
    """Return a table for a terminal of a given width. Times are local."""
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
        # People copy ids, so wrap a long id instead of cutting it.
        table.add_column(heading, overflow="fold")
    elif column.fit == "cut":
        table.add_column(heading, max_width=widest)
    else:
        table.add_column(heading, ratio=1)


def _fit(text: str, fit: str) -> Text:
    """Return a text for a column. If the column may be cut, the text has only one line."""
    if fit == "whole":
        return Text(text)
    # Set no_wrap on the text, not on the column, because rich would narrow all other columns first.
    return Text(text, no_wrap=True, overflow=_get_overflow())


def _get_overflow() -> OverflowMethod:
    """Return how to shorten long text: with … if standard output can encode that character."""
    return "ellipsis" if can_encode(getattr(sys.stdout, "encoding", None), "…") else "crop"


def _get_value(column: ShownColumn, record: Any) -> str | datetime | None:
    """Return the value of a column. Convert a time to the time zone of this machine."""
    value: str | datetime | None = column.value(record)
    if not isinstance(value, datetime):
        return value
    try:
        return value.astimezone()
    except (OverflowError, OSError):  # at the limits of datetime, and on Windows before 1970
        return None


def _describe_zones(values: Iterable[object]) -> str:
    """Return the names of the time zones of all local times, like ``WIB`` or ``CET/CEST``."""
    moments = [value for value in values if isinstance(value, datetime)]
    # Sort the zones by offset, so that summer time is last.
    zones = sorted({(moment.utcoffset() or _NO_OFFSET, _name_zone(moment)) for moment in moments})
    return "/".join(dict.fromkeys(name for _, name in zones))


def _name_zone(moment: datetime) -> str:
    name = moment.tzname() or ""
    # On Windows, the names of time zones are long, and depend on the system's language.
    is_short = name.isalpha() and name.isascii() and len(name) <= _LONGEST_ZONE
    return name if is_short else f"UTC{moment:%z}"


def _build_cell(value: str | datetime | None, fit: str, year: int) -> Text:
    """Return a cell for untrusted text: one line without markup or control characters."""
    if isinstance(value, datetime):
        value = f"{value:%m-%d %H:%M}" if value.year == year else f"{value:%Y-%m-%d}"
    return _fit(_clean(value), fit)


def _describe_exactly(value: str | datetime | None) -> str:
    """Return a complete value as text. Replace each tab, line break or other control character."""
    text = value.isoformat() if isinstance(value, datetime) else value or ""
    return _CONTROL.sub(" ", readable(text))


def _clean(value: str | None) -> str:
    return one_line(value or "", LONGEST_LINE)
