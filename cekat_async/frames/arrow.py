"""Rows as Arrow arrays, made of their bytes.

``pyarrow.array`` does the same, but it imports pandas where that is installed: 45 MB, and a third
of a second in which no other thread runs.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async import MissingExtraError
from cekat_async.frames.columns import COLUMNS, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Arrow"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LABEL = ("id", "name", "color")


class Arrow:
    """The schema of all exports, and the tables that records make of it.

    Raises:
        MissingExtraError: The extra ``parquet`` is not installed.
    """

    def __init__(self) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtraError(
                "Parquet needs pyarrow: pip install 'cekat-async[parquet]'"
            ) from error
        self.arrow: Any = pa
        self._text = self.arrow.string()
        self._time = self.arrow.timestamp("us", tz="UTC")
        self._label = self.arrow.struct([(field, self._text) for field in _LABEL])
        self._labels = self.arrow.list_(self._label)
        kinds = [self._kind_of(column.name, column.kind) for column in COLUMNS]
        self._makers = [make for _, make in kinds]
        self.schema: Any = self.arrow.schema(
            [(column.name, kind) for column, (kind, _) in zip(COLUMNS, kinds, strict=True)]
        )

    def _kind_of(self, name: str, kind: str) -> tuple[Any, Callable[[Sequence[Any]], Any]]:
        if name == "labels":
            return self._labels, self._array_of_labels
        if kind == "time":
            return self._time, self._array_of_times
        return self._text, self._array_of_texts

    def batch_of(self, records: list[bytes]) -> Any:
        """Return some records as a batch of rows."""
        columns = zip(*[row_of(record) for record in records], strict=True)
        arrays = [make(values) for make, values in zip(self._makers, columns, strict=True)]
        return self.arrow.RecordBatch.from_arrays(arrays, schema=self.schema)

    def table_of(self, batches: list[Any]) -> Any:
        """Return a table of batches, which it does not copy."""
        return self.arrow.Table.from_batches(batches, self.schema)

    def _array(self, kind: Any, values: Sequence[Any], *data: Any, children: Any = None) -> Any:
        """Return an array of a type that consists of its bytes, and of which values there are."""
        buffers = [None if one is None else self.arrow.py_buffer(one) for one in data]
        buffers.insert(0, self._validity(values))
        return self.arrow.Array.from_buffers(kind, len(values), buffers, children=children)

    def _validity(self, values: Sequence[Any]) -> Any:
        if None not in values:
            return None
        bits = sum((value is not None) << place for place, value in enumerate(values))
        return self.arrow.py_buffer(bits.to_bytes((len(values) + 7) // 8, "little"))

    def _array_of_texts(self, values: Sequence[str | None]) -> Any:
        texts = [(value or "").encode() for value in values]
        return self._array(self._text, values, _offsets(texts), b"".join(texts))

    def _array_of_times(self, values: Sequence[datetime | None]) -> Any:
        times = array("q", [(value - _EPOCH) // _MICROSECOND if value else 0 for value in values])
        return self._array(self._time, values, times)

    def _array_of_labels(self, values: Sequence[str | None]) -> Any:
        lists: list[list[dict[str, str]]] = [msgspec.json.decode(value or "[]") for value in values]
        labels = list(chain.from_iterable(lists))
        fields = [self._array_of_texts([label.get(name) for label in labels]) for name in _LABEL]
        structs = self._array(self._label, labels, children=fields)
        return self._array(self._labels, values, _offsets(lists), children=[structs])


def _offsets(parts: Sequence[bytes] | Sequence[list[Any]]) -> array[int]:
    """Return where each part begins, and the last one ends, in 32 bits."""
    return array("i", accumulate(map(len, parts), initial=0))
