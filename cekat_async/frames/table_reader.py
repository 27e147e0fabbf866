"""Converts the pages of a listing to Arrow record batches and tables."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import chain
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from cekat_async import CekatError, ConfigurationError, Listing
from cekat_async.frames.arrow import ArrowBuilder
from cekat_async.frames.arrow_arrays import PyarrowArrays
from cekat_async.frames.columns import get_columns
from cekat_async.frames.free_form import expand_json
from cekat_async.frames.timezones import parse_timezone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
    from datetime import tzinfo

    import msgspec

    from cekat_async.frames.columns import Column
    from cekat_async.pages import Page

__all__ = ["TableReader"]

# The number of records that are converted to arrays together. More records would not fit into the
# processor's cache: with five times as many, the conversion takes a fifth longer.
_PART_ROWS = 300
_PART_BYTES = 4 << 20
# An Arrow text column has 32-bit offsets, so a batch must not become too large.
_BATCH_BYTES = 256 << 20


class TableReader:
    """Reads a listing as a table.

    Args:
        listing: The listing.
        columns: The names of the columns; ``None`` for all.
        timezone: The time zone of all times.
        extra: The extra that the caller needs, for the error if a library is missing.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    def __init__(
        self,
        listing: Listing[Any, Any],
        columns: Iterable[str] | None,
        timezone: str | tzinfo,
        extra: str,
    ) -> None:
        if not isinstance(listing, Listing):
            raise ConfigurationError(
                "listing must be a Listing, such as client.conversations.list(), not "
                f"{type(listing).__name__}"
            )
        self._listing = listing
        self._columns = _choose_columns(get_columns(listing.record_type), columns)
        self._has_raw = any(column.kind == "raw" for column in self._columns)
        self._timezone = parse_timezone(timezone)
        self._extra = extra

    async def read(self, free_form: str) -> Any:
        """Return all records as a table.

        Args:
            free_form: The form of free-form values, ``json`` or ``struct``.
        """
        if free_form not in {"json", "struct"}:
            raise ConfigurationError(f"free_form must be 'json' or 'struct', not {free_form!r}")
        builder = await self._create_builder()
        async with aclosing(self._build_parts(builder, _PART_ROWS)) as parts:
            table = builder.build_table([part async for part in parts])
        if free_form == "json":
            return table
        names = [c.name for c in self._columns if c.kind == "json" and c.name != "labels"]
        return await asyncio.to_thread(expand_json, table, names)

    async def batches(self, rows: int) -> AsyncGenerator[Any, None]:
        """Yield record batches with ``rows`` rows each, except the last."""
        builder = await self._create_builder()
        waiting = _Regrouping(builder, rows)
        async with aclosing(self._build_parts(builder, min(rows, _PART_ROWS))) as parts:
            try:
                async for part in parts:
                    for batch in waiting.add(part):
                        yield batch
            except CekatError:
                for batch in waiting.take_rest():
                    yield batch
                raise
        for batch in waiting.take_rest():
            yield batch

    async def _create_builder(self) -> ArrowBuilder:
        arrays = await asyncio.to_thread(PyarrowArrays, self._extra)
        return ArrowBuilder(arrays, self._columns, self._timezone)

    async def _build_parts(self, builder: ArrowBuilder, rows: int) -> AsyncGenerator[Any, None]:
        """Yield record batches of whole pages, each with at least ``rows`` rows or many bytes.

        The last batch may be smaller. If a request fails, all earlier records are yielded before
        the error is raised.
        """
        pages: list[Page[Any]] = []
        async with aclosing(self._listing.pages()) as walk:
            try:
                async for page in walk:
                    pages.append(page)
                    if _is_enough(pages, rows):
                        yield self._build_part(builder, pages)
                        pages = []
            except CekatError:
                if pages:
                    yield self._build_part(builder, pages)
                raise
        if pages:
            yield self._build_part(builder, pages)

    def _build_part(self, builder: ArrowBuilder, pages: Sequence[Page[Any]]) -> Any:
        values = zip(*map(astuple, chain.from_iterable(pages)), strict=True)
        # If there are no records, no field has values.
        fields: dict[str, Sequence[Any]] = dict(
            zip(self._listing.record_type.__struct_fields__, values, strict=False)
        )
        if self._has_raw:
            fields[""] = [*chain.from_iterable(map(_list_json, pages))]
        return builder.build_fields(fields)


class _Regrouping:
    """Combines and splits record batches, so that each has a given number of rows."""

    def __init__(self, builder: ArrowBuilder, rows: int) -> None:
        self._builder = builder
        self._rows = rows
        self._parts: list[Any] = []
        self._count = self._size = 0

    def add(self, part: Any) -> Iterator[Any]:
        """Add a record batch, and yield all batches that are complete."""
        self._parts.append(part)
        self._count += part.num_rows
        self._size += part.nbytes
        if self._size >= _BATCH_BYTES:
            yield from self.take_rest()
        elif self._count >= self._rows:
            complete = self._count // self._rows * self._rows
            table = self._builder.build_table(self._parts)
            yield from self._split(table.slice(0, complete))
            rest = table.slice(complete)
            self._parts, self._count, self._size = rest.to_batches(), rest.num_rows, rest.nbytes

    def take_rest(self) -> Iterator[Any]:
        """Yield the remaining rows. The last batch may have fewer rows."""
        if self._count:
            yield from self._split(self._builder.build_table(self._parts))
        self._parts, self._count, self._size = [], 0, 0

    def _split(self, table: Any) -> Iterator[Any]:
        for begin in range(0, table.num_rows, self._rows):
            # The result is a single batch, because a part is small enough for 32-bit offsets.
            yield from table.slice(begin, self._rows).combine_chunks().to_batches()


def _is_enough(pages: Sequence[Page[Any]], rows: int) -> bool:
    size = sum(len(page.body) for page in pages)
    return size >= _PART_BYTES or sum(map(len, pages)) >= rows


def _list_json(page: Page[Any]) -> Sequence[bytes | msgspec.Raw]:
    """Return the JSON of the readable records of a page, each on one line."""
    # `lines` copies all records, which takes a tenth of the total time. Only pages with line breaks
    # need this.
    lines = page.lines if b"\n" in page.body or b"\r" in page.body else page.raw
    if not page.malformed_records:
        return lines
    malformed = {record.index for record in page.malformed_records}
    return [line for index, line in enumerate(lines) if index not in malformed]


def _choose_columns(known: Sequence[Column], names: Iterable[str] | None) -> Sequence[Column]:
    if names is None:
        return known
    by_name = {column.name: column for column in known}
    wanted = [names] if isinstance(names, str) else [*names]
    unknown = [name for name in wanted if name not in by_name]
    if unknown or not wanted or len({*wanted}) < len(wanted):
        raise ConfigurationError(
            f"columns must be different names out of {', '.join(by_name)}, not {wanted!r}"
        )
    return [by_name[name] for name in wanted]
