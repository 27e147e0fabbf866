"""Builds Arrow record batches and tables from records, column by column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from cekat_async import Conversation
from cekat_async.frames.arrow_arrays import build_from_buffers, fill, get_offsets, pack_bits
from cekat_async.frames.columns import COLUMNS, encode_json, read_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import msgspec

    from cekat_async import Label
    from cekat_async.frames.arrow_arrays import Arrays
    from cekat_async.frames.columns import Column

__all__ = ["ArrowBuilder"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
# The first and the last moment that a Python datetime can represent.
_FIRST = datetime.min.replace(tzinfo=UTC) - _EPOCH
_LAST = datetime.max.replace(tzinfo=UTC) - _EPOCH
_LABEL = ("id", "name", "color")


class ArrowBuilder:
    """Builds record batches and tables, which all have the same schema.

    Args:
        arrays: The object that builds the arrays.
        columns: The columns of the tables.
        timezone: The IANA name of the time zone of all times in the tables.

    Attributes:
        pyarrow: The library.
        schema: The schema of every table.
    """

    def __init__(
        self, arrays: Arrays, columns: Sequence[Column] = COLUMNS, timezone: str = "UTC"
    ) -> None:
        self.pyarrow: Any = arrays.pyarrow
        self._arrays = arrays
        self._text = self.pyarrow.string()
        self._time = self.pyarrow.timestamp("us", tz=timezone)
        self._label = self.pyarrow.struct([(name, self._text) for name in _LABEL])
        # Near the limits of datetime, a moment that UTC can represent may be out of range in
        # another zone.
        margin = timedelta() if timezone == "UTC" else _DAY
        self._first, self._last = _FIRST + margin, _LAST - margin
        self._columns = [(column, *self._choose_type(column)) for column in columns]
        self.schema: Any = self.pyarrow.schema(
            [(column.name, type_) for column, type_, _ in self._columns]
        )

    def _choose_type(self, column: Column) -> tuple[Any, Callable[[Sequence[Any]], Any]]:
        if column.name == "labels":
            return self.pyarrow.list_(self._label), self._build_labels
        match column.kind:
            case "time":
                return self._time, self._build_times
            case "boolean":
                return self.pyarrow.bool_(), self._build_booleans
            case "json":
                return self._text, self._build_json
            case "raw":
                return self._text, self._build_raw
            case _:
                return self._text, self._arrays.build_texts

    def build_batch(self, records: Sequence[bytes]) -> Any:
        """Return a record batch of conversations, each of which is passed as JSON."""
        values = zip(*map(read_fields, records), strict=True)
        fields = dict(zip(Conversation.__struct_fields__, values, strict=False))
        return self.build_fields({**fields, "": records})

    def build_fields(self, fields: Mapping[str, Sequence[Any]]) -> Any:
        """Return a record batch for the values of fields.

        Args:
            fields: The values of each field, by name. The values for the name ``""`` are the
                records as JSON. If a field is missing, its column has only nulls.
        """
        arrays = [
            self._build_column(type_, build, column.get_parts(fields.get(column.field, ())))
            for column, type_, build in self._columns
        ]
        return self.pyarrow.RecordBatch.from_arrays(arrays, schema=self.schema)

    def build_table(self, batches: list[Any]) -> Any:
        """Return a table that consists of record batches, without copying them."""
        return self.pyarrow.Table.from_batches(batches, self.schema)

    def _build_column(
        self, type_: Any, build: Callable[[Sequence[Any]], Any], values: Sequence[Any]
    ) -> Any:
        # This shortcut saves time, because some columns are empty for all records of an account.
        if not any(values) and values.count(None) == len(values):
            return self.pyarrow.nulls(len(values), type_)
        return build(values)

    def _build_encoded(
        self, texts: Sequence[bytes | msgspec.Raw], validity: bytes | None = None
    ) -> Any:
        return build_from_buffers(
            self.pyarrow, self._text, len(texts), validity, get_offsets(texts), b"".join(texts)
        )

    def _build_json(self, values: Sequence[Any]) -> Any:
        filled, validity = fill(values, "")
        return self._build_encoded([*map(encode_json, filled)], validity)

    def _build_raw(self, records: Sequence[bytes | msgspec.Raw]) -> Any:
        texts = self._build_encoded(records)
        try:
            texts.validate(full=True)
        except self.pyarrow.ArrowInvalid:  # not UTF-8
            decoded = [bytes(record).decode(errors="replace") for record in records]
            return self._arrays.build_texts(decoded)
        return texts

    def _build_times(self, values: Sequence[datetime | None]) -> Any:
        times = [None if value is None else value - _EPOCH for value in values]
        known = [*filter(None, times)]
        if known and (min(known) < self._first or max(known) > self._last):
            times = [
                time if time is not None and self._first <= time <= self._last else None
                for time in times
            ]
        return self._arrays.build_times(times, self._time)

    def _build_booleans(self, values: Sequence[bool | None]) -> Any:
        booleans, validity = fill(values, 0)
        bits = pack_bits(bytes(booleans))
        return build_from_buffers(self.pyarrow, self.pyarrow.bool_(), len(values), validity, bits)

    def _build_labels(self, values: Sequence[tuple[Label, ...] | None]) -> Any:
        lists, validity = fill(values, ())
        labels = [*chain.from_iterable(lists)]
        texts = [
            self._build_column(self._text, self._arrays.build_texts, [*map(get, labels)])
            for get in map(attrgetter, _LABEL)
        ]
        pa = self.pyarrow
        structs = build_from_buffers(pa, self._label, len(labels), None, children=texts)
        offsets = get_offsets(lists)
        type_ = pa.list_(self._label)
        return build_from_buffers(pa, type_, len(lists), validity, offsets, children=[structs])
