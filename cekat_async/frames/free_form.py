"""Converts columns of JSON text to structs and lists. Their types follow from their values."""

# pyarrow has no types of its own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["expand_json"]

_EXACT = 2**53  # a float represents all whole numbers up to this one exactly
_INT64 = 2**63
# Values with more levels stay JSON, and so do objects with more fields, whose names are probably
# ids.
_MOST_LEVELS = 16
_MOST_FIELDS = 1_000
_KINDS: dict[type[Any], str] = {
    bool: "boolean",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}


def expand_json(table: Any, names: Iterable[str]) -> Any:
    """Return an Arrow table with some of its columns of JSON text decoded.

    An object becomes a struct of all fields that occur in the column, in alphabetical order, and an
    array becomes a list. Whole numbers become ``int64``, and other numbers become ``double``.
    Values of different types become text: strings stay unchanged, and other values become JSON. If
    all values at one place are nulls or empty objects, they become null.

    Args:
        table: The table.
        names: The names of the columns.
    """
    for name in names:
        place = table.column_names.index(name)
        table = table.set_column(place, name, _expand(table.column(place)))
    return table


def _expand(column: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    shape = _Shape()
    for chunk in column.chunks:
        for value in _decode(chunk):
            shape.add(value)
    type_ = shape.build_type(pa)
    # Decode the values twice, so that only the values of one chunk are in memory at a time.
    chunks = [
        pa.array([_fit(value, type_) for value in _decode(chunk)], type_) for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, type_)


def _decode(chunk: Any) -> Iterable[Any]:
    return (None if text is None else msgspec.json.decode(text) for text in chunk.to_pylist())


class _Shape:
    """The kinds of values at one place in the records, and the shapes of the values inside them."""

    def __init__(self, level: int = 0) -> None:
        self._level = level
        self._kinds = set[str]()
        self._fields: dict[str, _Shape] = {}
        self._items: _Shape | None = None

    def add(self, value: Any) -> None:
        """Add a value."""
        if value is None:
            return
        kind = _get_kind(value)
        self._kinds.add(kind)
        if self._level == _MOST_LEVELS or len(self._fields) > _MOST_FIELDS:
            return
        if kind == "object":
            for name, field in value.items():
                self._get_field(name).add(field)
        elif kind == "list":
            self._items = self._items or _Shape(self._level + 1)
            for item in value:
                self._items.add(item)

    def _get_field(self, name: str) -> _Shape:
        if name not in self._fields:
            self._fields[name] = _Shape(self._level + 1)
        return self._fields[name]

    def build_type(self, pa: Any) -> Any:
        """Return an Arrow type that fits all values that were added."""
        scalars = {
            frozenset[str](): pa.null(),
            frozenset({"boolean"}): pa.bool_(),
            frozenset({"small integer"}): pa.int64(),
            frozenset({"integer"}): pa.int64(),
            frozenset({"small integer", "integer"}): pa.int64(),
            frozenset({"number"}): pa.float64(),
            frozenset({"small integer", "number"}): pa.float64(),
        }
        kinds = frozenset(self._kinds)
        if kinds in scalars:
            return scalars[kinds]
        if self._level == _MOST_LEVELS or len(self._fields) > _MOST_FIELDS:
            return pa.string()
        if kinds == {"object"}:
            return self._build_struct(pa)
        if kinds == {"list"} and self._items is not None:
            return pa.list_(self._items.build_type(pa))
        return pa.string()

    def _build_struct(self, pa: Any) -> Any:
        fields = [(name, self._fields[name].build_type(pa)) for name in sorted(self._fields)]
        return pa.struct(fields) if fields else pa.null()


def _get_kind(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return _KINDS[type(value)]
    if abs(value) <= _EXACT:
        return "small integer"
    return "integer" if -_INT64 <= value < _INT64 else "huge integer"


def _fit(value: Any, type_: Any) -> Any:
    """Convert a value to a form that its Arrow type accepts."""
    import pyarrow.types as kinds  # noqa: PLC0415 - an extra

    if value is None or kinds.is_null(type_):
        return None
    if kinds.is_struct(type_):
        return {field.name: _fit(value.get(field.name), field.type) for field in type_}
    if kinds.is_list(type_):
        return [_fit(item, type_.value_type) for item in value]
    if kinds.is_string(type_) and not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return value
