"""The base of all record types: unknown fields, the JSON form, and how they are shown."""

# A field may have a value of any type.
# pyright: reportUnknownVariableType=false

# No postponed annotations: msgspec reads them when a struct is made.

from datetime import datetime
from typing import Any, ClassVar, Required, Self

import msgspec

from cekat_async.errors import DecodeError
from cekat_async.models.fields import NO_EXTRA, Extra, Id, OpenEnum
from cekat_async.models.forms.html_table import build_fields_table
from cekat_async.models.forms.json_object import JsonMapping
from cekat_async.models.malformed import MalformedRecord
from cekat_async.models.record_shape import RecordShape, get_shape
from cekat_async.models.steps import run_steps
from cekat_async.redaction import one_line

__all__ = ["IdentifiedRecord", "Record"]

# Characters of a value in a repr.
_LONGEST_SHOWN = 60


class Record(
    JsonMapping,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    # A record cannot come to hold itself, so that the collector need not look at it: a list of
    # them is a third cheaper to build.
    gc=False,
):
    """The base of all records. Two are equal when all their fields are.

    Unknown fields are refused by the plain decoder of :mod:`msgspec`, so that the fast path
    notices them; the package's own decoding keeps them in ``extra``. To read a record back from
    JSON use :meth:`from_json`, not ``msgspec.json.decode``, and to write one use :meth:`to_json`:
    ``msgspec.json.encode`` writes another form, with ``extra`` as an object.

    A record is also a read-only mapping, with the items of its :meth:`to_dict`. Its ``repr`` has
    its id and what is not personal, because it ends up in logs.
    """

    extra: Extra = NO_EXTRA

    # Fields that few records have: one that is None was probably not sent.
    _rare: ClassVar[frozenset[str]] = frozenset()
    # The fields that the repr shows: no names and no messages.
    _shown: ClassVar[tuple[str, ...]] = ("id",)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values under the API's names, unknown fields included.

        A mistyped field has its original value. Timestamps are ISO 8601 text with their zone, to
        the millisecond (to the microsecond where that is needed), as the API writes them. Objects
        and lists of JSON are those of the record: copy them before you change them.
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "extra"}
        return {
            name: _plain(value)
            for name, value in fields.items()
            if value is not None or name not in self._rare
        } | self.extra

    @classmethod
    def from_json(cls, raw: bytes | str | msgspec.Raw) -> Self:
        """Return one record from its JSON, as a line of an export or ``page.raw`` holds it.

        Unknown fields, fields of another type and timestamps without a zone are read as in a page.

        Raises:
            DecodeError: It is malformed: not JSON, not an object, or without a readable id.
                ``field`` says where. A label and a message preview need no id.
        """
        data = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
        shape: RecordShape[Self] = get_shape(cls)
        record = run_steps(shape.decode(0, data, set()))
        if isinstance(record, MalformedRecord):
            message = f"not a valid {cls.__name__}: {record.reason} at {record.field}"
            raise DecodeError(message, field=record.field, raw=record.raw)
        return record

    @classmethod
    def _json_fields(cls) -> dict[str, Any]:
        return {
            field.name: Required[field.type] if field.required else field.type
            for field in msgspec.structs.fields(cls)
            if field.name != "extra"
        }

    def __getitem__(self, name: str) -> Any:
        # Not by way of the whole dict, because `dict(record)` asks for each item.
        if name in self.extra:
            return self.extra[name]
        if name == "extra" or name not in self.__struct_fields__:
            raise KeyError(name)
        value = getattr(self, name)
        if value is None and name in self._rare:
            raise KeyError(name)
        return _plain(value)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = {name: getattr(self, name) for name in self._shown}
        return [
            (name, one_line(_plain(value), _LONGEST_SHOWN))
            for name, value in values.items()
            if value is not None
        ]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        return build_fields_table(repr(self), self.to_dict())


class IdentifiedRecord(Record, frozen=True, kw_only=True):
    """A record with an id of its own, by which it is hashed."""

    id: Id

    def __hash__(self) -> int:
        return hash(self.id)


def _plain(value: Any) -> Any:
    """Return a field's value as JSON-ready data."""
    match value:
        case Record():
            return value.to_dict()
        case datetime():
            return value.isoformat(timespec=_precision(value))
        case tuple():
            return [_plain(part) for part in value]
        case OpenEnum():
            return value.value
        case _:
            return value


def _precision(moment: datetime) -> str:
    return "microseconds" if moment.microsecond % 1000 else "milliseconds"
