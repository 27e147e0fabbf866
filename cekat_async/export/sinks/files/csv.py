"""The sink for CSV: a table for spreadsheets that never runs a contact's text as a formula."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import TargetError
from cekat_async.export.sinks.files.base import FileSink
from cekat_async.frames.columns import COLUMNS, build_row

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from datetime import datetime

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output
    from cekat_async.frames.columns import Row

__all__ = ["CsvSink"]

_BOM = b"\xef\xbb\xbf"

# Spreadsheets run text with these beginnings as a formula. Some spreadsheets ignore blank and
# invisible characters at the beginning, and Japanese spreadsheets also accept full-width signs.
_INVISIBLE = "[\\s\0-\x20\x7f-\x9f\u200b-\u200f\u2060\ufeff]"
_is_formula = re.compile(_INVISIBLE + "*[-=+@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]").match
_needs_quotes = re.compile('[",\r\n]').search
_APOSTROPHE = "'"
_QUOTE = '"'

_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",]*+)'
_LAST = rb'(?P<raw>".*"|[^",\r\n]*+)'


class CsvSink(FileSink):
    """A CSV file of :data:`~cekat_async.frames.columns.COLUMNS`, with their names in the first row.

    The file is UTF-8 with a byte order mark, for Excel. Commas separate cells, and CRLF ends a row.
    Times are in ISO 8601 (``2026-04-10T05:47:16.771+00:00``), ``None`` is an empty cell, and nested
    values are JSON. Cells keep their quotes, line breaks and NUL characters.

    Contacts can write any text, and a spreadsheet runs a cell that begins like a formula. So the
    sink puts an apostrophe before the text of such a cell, in every column. A cell begins like a
    formula if its text begins with ``=``, ``+``, ``-``, ``@`` or their full-width forms, even after
    blanks, or with a tab or a line break. If a program needs the unchanged text, pass
    ``defuse=False``.

    The last column, ``raw``, is the record exactly as the API sent it, except that U+FFFD replaces
    bytes that are not UTF-8. JSON never begins with an apostrophe, so a reader can remove an added
    apostrophe. (Negative numbers are the only JSON values that get an apostrophe.) Python's own
    :mod:`csv` reads records of more than 131,072 characters only after a call of
    :func:`csv.field_size_limit`.

    Args:
        path: The file.
        defuse: Whether to turn cells that look like a formula into text. Default ``True``.
    """

    def __init__(self, path: str | os.PathLike[str], *, defuse: bool = True) -> None:
        super().__init__(path)
        self._defuse = defuse

    def write(self, records: Records, output: Output) -> None:
        """Write the names of the columns, and one row per record."""
        output.write(_BOM + _encode_rows([[column.name for column in COLUMNS]]))
        for batch in records:
            output.write(_encode_rows([self._format_row(build_row(record)) for record in batch]))

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the records from the column ``raw``."""
        rows = _split_rows(file)
        pattern = self._compile_row_pattern(next(rows, b""))
        for row in rows:
            if not (found := pattern.fullmatch(row)):
                raise self._build_error("a row is cut short")
            yield _parse_raw(found["raw"])

    def _format_row(self, row: Row) -> list[str]:
        *cells, raw = [value if isinstance(value, str) else _format_time(value) for value in row]
        if self._defuse:
            cells = [_APOSTROPHE + cell if _is_formula(cell) else cell for cell in cells]
        # Add an apostrophe even before an existing apostrophe, because reading removes the first
        # one.
        if raw.startswith(_APOSTROPHE) or (self._defuse and _is_formula(raw)):
            raw = _APOSTROPHE + raw
        return [*cells, raw]

    def _compile_row_pattern(self, header: bytes) -> re.Pattern[bytes]:
        """Return a pattern for a row with the columns of a header. The header has no quotes."""
        *before, last = header.removeprefix(_BOM).split(b",")
        if last != COLUMNS[-1].name.encode() + b"\r\n":
            raise self._build_error("its last column is not raw")
        return re.compile(rb"(?:%s,){%d}%s\r\n" % (_FIELD, len(before), _LAST), re.DOTALL)

    def _build_error(self, reason: str) -> TargetError:
        return TargetError(
            f"{self.target} is not the CSV of an export, because {reason}: move it away, or choose "
            "another target"
        )


def _format_time(value: datetime | None) -> str:
    if value is None:
        return ""
    precise = value.microsecond % 1000
    return value.isoformat(timespec="microseconds" if precise else "milliseconds")


def _encode_rows(rows: list[list[str]]) -> bytes:
    """Return rows as CSV, in the same format as the writer of :mod:`csv`.

    That writer is not used, because no other thread can run while it processes a row. If a record
    has some megabytes, the writer would block the event loop for too long.
    """
    return "".join([",".join(map(_quote, row)) + "\r\n" for row in rows]).encode()


def _quote(text: str) -> str:
    return f'"{text.replace(_QUOTE, _QUOTE * 2)}"' if _needs_quotes(text) else text


def _split_rows(file: BinaryIO) -> Iterator[bytes]:
    """Yield each row with its line break. A row may have several lines.

    The reader of :mod:`csv` is not used. It refuses long records, unless a limit is raised for the
    whole process. It also creates an object for each cell, although only the last cell is needed.
    """
    row: list[bytes] = []
    quotes = 0
    for line in file:
        row.append(line)
        quotes += line.count(b'"')
        # Each quote within a cell is doubled, so the number of quotes is even at the end of a row.
        if quotes % 2 == 0:
            yield b"".join(row)
            row, quotes = [], 0
    if row:
        yield b"".join(row)


def _parse_raw(cell: bytes) -> bytes:
    if cell.startswith(b'"'):
        cell = cell[1:-1].replace(b'""', b'"')
    return cell.removeprefix(_APOSTROPHE.encode())
