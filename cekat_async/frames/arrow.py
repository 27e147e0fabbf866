"""Records as Arrow arrays, built column by column from buffers.

``pyarrow.array`` does the same, but it imports pandas if that is installed. That takes 45 MB, and
a third of a second in which no other thread runs.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cekat_async import Conversation, MissingExtraError
from cekat_async.frames.columns import COLUMNS, encode_json, read_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Sized

    from cekat_async import Label
    from cekat_async.frames.columns import Column

__all__ = ["ArrowBuilder"]

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1) // _MICROSECOND
# The first and the last moment that Python has a datetime for.
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LABEL = ("id", "name", "color")
_DIGITS = bytes.maketrans(b"\0\1", b"01")


class ArrowBuilder:
    """Builds record batches and tables, which all have the same schema.

    Args:
        columns: The columns of the tables.
        timezone: The IANA name of the zone of all times in the tables.
        extra: The extra that the caller needs, for the error if pyarrow is not installed.

    Attributes:
        pyarrow: The library, which is imported when this is created.
        schema: The schema of every table.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self, columns: Sequence[Column] = COLUMNS, timezone: str = "UTC", extra: str = "parquet"
    ) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtraError(
                f"pyarrow is not installed: pip install 'cekat-async[{extra}]'"
            ) from error
        self.pyarrow: Any = pa
        self._text = self.pyarrow.string()
        self._time = self.pyarrow.timestamp("us", tz=timezone)
        self._label = self.pyarrow.struct([(name, self._text) for name in _LABEL])
        # Near the ends of the calendar, a moment in UTC may have no datetime in another zone.
        margin = 0 if timezone == "UTC" else _DAY
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
                return self._text, self._build_texts

    def build_batch(self, records: Sequence[bytes]) -> Any:
        """Return conversations, each as JSON, as a record batch."""
        values = zip(*map(read_fields, records), strict=True)
        fields = dict(zip(Conversation.__struct_fields__, values, strict=False))
        return self.build_fields({**fields, "": records})

    def build_fields(self, fields: Mapping[str, Sequence[Any]]) -> Any:
        """Return records as a record batch.

        Args:
            fields: The values of each field under its name, and the records as JSON under ``""``.
                A field that is missing has no values.
        """
        arrays = [
            self._build_column(type_, build, column.get_parts(fields.get(column.field, ())))
            for column, type_, build in self._columns
        ]
        return self.pyarrow.RecordBatch.from_arrays(arrays, schema=self.schema)

    def build_table(self, batches: list[Any]) -> Any:
        """Return a table of batches, without copying them."""
        return self.pyarrow.Table.from_batches(batches, self.schema)

    def _build_column(
        self, type_: Any, build: Callable[[Sequence[Any]], Any], values: Sequence[Any]
    ) -> Any:
        # Some columns are empty for all records of an account.
        if not any(values) and all(value is None for value in values):
            return self.pyarrow.nulls(len(values), type_)
        return build(values)

    def _build_array(
        self, type_: Any, count: int, *buffers: Any, children: Sequence[Any] = ()
    ) -> Any:
        """Return an array of its buffers. The first one says which values are not null."""
        wrapped = [None if data is None else self.pyarrow.py_buffer(data) for data in buffers]
        return self.pyarrow.Array.from_buffers(type_, count, wrapped, children=[*children])

    def _build_texts(self, values: Sequence[str | None]) -> Any:
        texts, validity = _fill(values, "")
        text = "".join(texts)
        if not text.isascii():
            return self._build_parts([one.encode() for one in texts], validity)
        return self._build_array(self._text, len(texts), validity, _add_up(texts), text.encode())

    def _build_parts(self, parts: Sequence[bytes], validity: bytes | None = None) -> Any:
        """Return texts, each encoded."""
        data = b"".join(parts)
        return self._build_array(self._text, len(parts), validity, _add_up(parts), data)

    def _build_json(self, values: Sequence[Any]) -> Any:
        return self._build_parts(*_fill([*map(encode_json, values)], b""))

    def _build_raw(self, records: Sequence[bytes]) -> Any:
        texts = self._build_parts(records)
        try:
            texts.validate(full=True)
        except self.pyarrow.ArrowInvalid:  # not UTF-8
            return self._build_texts([record.decode(errors="replace") for record in records])
        return texts

    def _build_times(self, values: Sequence[datetime | None]) -> Any:
        moments, validity = _fill(values, _EPOCH)
        times = array("q", [(moment - _EPOCH) // _MICROSECOND for moment in moments])
        if min(times) < self._first or max(times) > self._last:
            fits = [self._first <= time <= self._last for time in times]
            return self._build_times([*map(_keep_if, values, fits)])
        return self._build_array(self._time, len(times), validity, times)

    def _build_booleans(self, values: Sequence[bool | None]) -> Any:
        booleans, validity = _fill(values, 0)
        return self._build_array(
            self.pyarrow.bool_(), len(values), validity, _pack(bytes(booleans))
        )

    def _build_labels(self, values: Sequence[tuple[Label, ...] | None]) -> Any:
        lists, validity = _fill(values, ())
        labels = [*chain.from_iterable(lists)]
        texts = [self._build_texts([*map(get, labels)]) for get in map(attrgetter, _LABEL)]
        structs = self._build_array(self._label, len(labels), None, children=texts)
        type_ = self.pyarrow.list_(self._label)
        return self._build_array(type_, len(lists), validity, _add_up(lists), children=[structs])


def _fill(values: Sequence[T | None], empty: T) -> tuple[Sequence[T], bytes | None]:
    """Return values with something for ``None``, and a bitmap of those that are not ``None``.

    There is no bitmap if none is ``None``.
    """
    is_there = bytes([value is not None for value in values])
    if 0 not in is_there:
        return cast("Sequence[T]", values), None
    return [empty if value is None else value for value in values], _pack(is_there)


def _pack(bits: bytes) -> bytes:
    """Return bytes that are 0 or 1 as a bitmap: eight in a byte, the first one lowest."""
    # Python reads digits to the base 2 in linear time.
    number = int(bits[::-1].translate(_DIGITS), 2)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def _add_up(parts: Sequence[Sized]) -> array[int]:
    """Return the offset of each part, and the end of the last one, as 32-bit integers."""
    return array("i", accumulate(map(len, parts), initial=0))


def _keep_if(value: T, is_kept: bool) -> T | None:  # noqa: FBT001 - called by position
    return value if is_kept else None
