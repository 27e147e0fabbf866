"""Records as Arrow arrays, built from buffers.

``pyarrow.array`` does the same, but it imports pandas if that is installed. That takes 45 MB, and
a third of a second in which no other thread runs.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async import MissingExtraError
from cekat_async.frames.columns import COLUMNS, build_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ArrowBuilder"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LABEL = ("id", "name", "color")


class ArrowBuilder:
    """Builds record batches and tables, which all have the same schema.

    Attributes:
        pyarrow: The library, which is imported when this is created.
        schema: The schema of every table.

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
        self.pyarrow: Any = pa
        self._text = self.pyarrow.string()
        self._time = self.pyarrow.timestamp("us", tz="UTC")
        self._label = self.pyarrow.struct([(field, self._text) for field in _LABEL])
        self._labels = self.pyarrow.list_(self._label)
        types = [self._choose_type(column.name, column.kind) for column in COLUMNS]
        self._builders = [build for _, build in types]
        self.schema: Any = self.pyarrow.schema(
            [(column.name, type_) for column, (type_, _) in zip(COLUMNS, types, strict=True)]
        )

    def _choose_type(self, name: str, kind: str) -> tuple[Any, Callable[[Sequence[Any]], Any]]:
        if name == "labels":
            return self._labels, self._build_labels
        if kind == "time":
            return self._time, self._build_times
        return self._text, self._build_texts

    def build_batch(self, records: list[bytes]) -> Any:
        """Return records as a record batch."""
        columns = zip(*[build_row(record) for record in records], strict=True)
        arrays = [build(values) for build, values in zip(self._builders, columns, strict=True)]
        return self.pyarrow.RecordBatch.from_arrays(arrays, schema=self.schema)

    def build_table(self, batches: list[Any]) -> Any:
        """Return a table of batches, without copying them."""
        return self.pyarrow.Table.from_batches(batches, self.schema)

    def _build_array(
        self, type_: Any, values: Sequence[Any], *data: Any, children: Any = None
    ) -> Any:
        """Return an array of its buffers, and of a bitmap of the values that are not ``None``."""
        buffers = [self._build_validity(values), *map(self.pyarrow.py_buffer, data)]
        return self.pyarrow.Array.from_buffers(type_, len(values), buffers, children=children)

    def _build_validity(self, values: Sequence[Any]) -> Any:
        if None not in values:
            return None
        bits = sum((value is not None) << place for place, value in enumerate(values))
        return self.pyarrow.py_buffer(bits.to_bytes((len(values) + 7) // 8, "little"))

    def _build_texts(self, values: Sequence[str | None]) -> Any:
        texts = [(value or "").encode() for value in values]
        return self._build_array(self._text, values, _build_offsets(texts), b"".join(texts))

    def _build_times(self, values: Sequence[datetime | None]) -> Any:
        times = array("q", [(value - _EPOCH) // _MICROSECOND if value else 0 for value in values])
        return self._build_array(self._time, values, times)

    def _build_labels(self, values: Sequence[str | None]) -> Any:
        lists: list[list[dict[str, str]]] = [msgspec.json.decode(value or "[]") for value in values]
        labels = list(chain.from_iterable(lists))
        fields = [self._build_texts([label.get(name) for label in labels]) for name in _LABEL]
        structs = self._build_array(self._label, labels, children=fields)
        return self._build_array(self._labels, values, _build_offsets(lists), children=[structs])


def _build_offsets(parts: Sequence[bytes] | Sequence[list[Any]]) -> array[int]:
    """Return the offset of each part, and the end of the last one, as 32-bit integers."""
    return array("i", accumulate(map(len, parts), initial=0))
