"""The base of all record types: unknown fields, the JSON form, and the ``repr``."""

# The value of a field may have any type.
# pyright: reportUnknownVariableType=false

# Annotations are not postponed, because msgspec reads them when it creates a struct.

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

# The most characters of a value in a repr.
_LONGEST_SHOWN = 60


class Record(
    JsonMapping,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    # A record cannot contain itself, so the garbage collector need not track records. Building a
    # list of untracked records takes a third less time.
    gc=False,
):
    """The base of all records. Two records are equal if all their fields are equal.

    Use :meth:`from_json` and :meth:`to_json` to read and write a record. ``msgspec.json.decode``
    rejects unknown fields, and ``msgspec.json.encode`` writes ``extra`` as an object.

    A record is also a read-only mapping with the items of its :meth:`to_dict`. Its ``repr`` shows
    no names, phone numbers or messages, because it may end up in logs.

    Attributes:
        extra: The original values of unknown fields, and of known fields whose value does not have
            the documented type, in alphabetical order. ``extra`` cannot be changed.
    """

    extra: Extra = NO_EXTRA

    # Few records have these fields. If such a field is None, the API probably did not send it.
    _rare: ClassVar[frozenset[str]] = frozenset()
    # The fields that the repr shows. They contain no names and no messages.
    _shown: ClassVar[tuple[str, ...]] = ("id",)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values with the API's names, including unknown fields.

        A mistyped field has its original value. Timestamps are ISO 8601 text with a time zone, and
        with milliseconds, or microseconds if needed. The result shares JSON objects and lists with
        the record, so copy them before you change them.

        Examples:
            >>> Conversation.from_json('{"id": "c1", "color": "red"}').to_dict()["color"]
            'red'
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "extra"}
        return {
            name: _plain(value)
            for name, value in fields.items()
            if value is not None or name not in self._rare
        } | self.extra

    @classmethod
    def from_json(cls, raw: bytes | str | msgspec.Raw) -> Self:
        """Return one record from its JSON.

        Unknown fields, mistyped fields and timestamps without a zone are read in the same way as on
        a page.

        Args:
            raw: The JSON of the record, such as a line of an export or an element of ``page.raw``.

        Raises:
            DecodeError: The record is malformed: not JSON, not an object, or without a readable id.
                The error's ``field`` is the malformed place. (Labels and message previews need no
                id.)

        Examples:
            >>> Conversation.from_json(b'{"id": "c1", "stage_status": "pending"}')
            Conversation(id='c1', stage_status='pending')
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
        # `dict(record)` calls this method for each item, so the whole dict must not be built here.
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
    """A record with an id. The record's hash is the hash of its id.

    Attributes:
        id: The id, which is text of at least one character.
    """

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
