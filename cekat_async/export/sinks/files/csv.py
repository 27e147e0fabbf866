"""CSV: a table for spreadsheets, in which no text of a stranger is run as a formula."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import TargetError
from cekat_async.export.sinks.files.base import FileSink
from cekat_async.frames.columns import COLUMNS, row_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from datetime import datetime

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.files.base import Output
    from cekat_async.frames.columns import Row

__all__ = ["CsvSink"]

_BATCH = 100
_BOM = b"\xef\xbb\xbf"

# What spreadsheets run, whatever blank or unseen characters stand before it: some skip those. The
# wide forms are what a Japanese one takes for the same signs.
_UNSEEN = "[\\s\0-\x20\x7f-\x9f\u200b-\u200f\u2060\ufeff]"
_runs = re.compile(_UNSEEN + "*[-=+@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]").match
_needs_quotes = re.compile('[",\r\n]').search
_APOSTROPHE = "'"
_QUOTE = '"'

_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",]*+)'
_LAST = rb'(?P<raw>".*"|[^",\r\n]*+)'


class CsvSink(FileSink):
    """A CSV file of :data:`~cekat_async.frames.columns.COLUMNS`, with their names on top.

    It is UTF-8 with a byte order mark, for Excel, separated by commas, and its rows end in CRLF.
    Times are ISO 8601 (``2026-04-10T05:47:16.771+00:00``), nothing is an empty cell, and what is
    nested is JSON. Quotes, line breaks and NUL characters within a cell are kept.

    Contacts write what they like, and a spreadsheet runs a cell that begins like a formula. So a
    cell that does, in any column, gets an apostrophe before it: text that begins with ``=``,
    ``+``, ``-``, ``@`` or their full-width forms, also behind blanks, or with a tab or a line
    break. To have the text as it is for a program, take ``defuse=False``.

    The last column, ``raw``, is the record exactly as the API sent it, up to one thing: bytes that
    are not UTF-8, which JSON must be, are U+FFFD. JSON begins with no apostrophe, and so one is
    always put before, and taken off again, without a loss: of all JSON, it is numbers below zero
    that are defused there. Python's own :mod:`csv` reads records of more than 131,072 characters
    after :func:`csv.field_size_limit`.

    Args:
        path: The file.
        defuse: Whether cells that look like a formula are made text.
    """

    def __init__(self, path: str | os.PathLike[str], *, defuse: bool = True) -> None:
        super().__init__(path)
        self._defuse = defuse

    def write(self, records: Records, output: Output) -> None:
        """Write the names of the columns, and a row for each record."""
        output.write(_BOM + _lines([[column.name for column in COLUMNS]]))
        for batch in records:
            output.write(_lines([self._cells(row_of(record)) for record in batch]))

    def read(self, file: BinaryIO) -> Iterator[list[bytes]]:
        """Return the records from the column ``raw``."""
        rows = _rows(file)
        row = self._pattern(next(rows, b""))
        batch: list[bytes] = []
        for line in rows:
            if not (found := row.fullmatch(line)):
                raise self._other("a row is cut short")
            batch.append(_raw_of(found["raw"]))
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _cells(self, row: Row) -> list[str]:
        *cells, raw = [value if isinstance(value, str) else _text(value) for value in row]
        if self._defuse:
            cells = [_APOSTROPHE + cell if _runs(cell) else cell for cell in cells]
        # Always one before an apostrophe: reading takes one off.
        if raw.startswith(_APOSTROPHE) or (self._defuse and _runs(raw)):
            raw = _APOSTROPHE + raw
        return [*cells, raw]

    def _pattern(self, header: bytes) -> re.Pattern[bytes]:
        """Return what matches a row; its header is one of names, and they need no quotes."""
        *before, last = header.removeprefix(_BOM).split(b",")
        if last != COLUMNS[-1].name.encode() + b"\r\n":
            raise self._other("its last column is not raw")
        return re.compile(rb"(?:%s,){%d}%s\r\n" % (_FIELD, len(before), _LAST), re.DOTALL)

    def _other(self, what: str) -> TargetError:
        return TargetError(f"{self.target} is not the CSV of an export: {what}")


def _text(value: datetime | None) -> str:
    if value is None:
        return ""
    precise = value.microsecond % 1000
    return value.isoformat(timespec="microseconds" if precise else "milliseconds")


def _lines(rows: list[list[str]]) -> bytes:
    """Return rows as the writer of :mod:`csv` writes them.

    That looks at each character by itself, and meanwhile lets no other thread run: with a record
    of some megabytes for longer than an event loop may stand still.
    """
    return "".join([",".join(map(_cell, row)) + "\r\n" for row in rows]).encode()


def _cell(text: str) -> str:
    return f'"{text.replace(_QUOTE, _QUOTE * 2)}"' if _needs_quotes(text) else text


def _rows(file: BinaryIO) -> Iterator[bytes]:
    """Return each row with its end, however many lines it is on.

    The reader of :mod:`csv` refuses long records, unless a limit is raised that all of the process
    shares, and makes an object of each cell, where the last one alone is wanted.
    """
    row: list[bytes] = []
    quotes = 0
    for line in file:
        row.append(line)
        quotes += line.count(b'"')
        # Within a cell quotes are doubled: at the end of a row all of them are paired.
        if quotes % 2 == 0:
            yield b"".join(row)
            row, quotes = [], 0
    if row:
        yield b"".join(row)


def _raw_of(cell: bytes) -> bytes:
    if cell.startswith(b'"'):
        cell = cell[1:-1].replace(b'""', b'"')
    return cell.removeprefix(_APOSTROPHE.encode())
