"""A record that cannot be read."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from typing import Any, Required, Self

import msgspec

from cekat_async.errors import DecodeError
from cekat_async.models.forms.html_table import build_fields_table
from cekat_async.models.forms.json_object import JsonMapping
from cekat_async.redaction import one_line

__all__ = ["MalformedRecord"]

# The most characters of an id in a repr.
_LONGEST_SHOWN = 60


class MalformedRecord(JsonMapping, frozen=True):
    """A record that cannot be read: it is not JSON, is not an object, or has no readable id.

    Attributes:
        index: The position of the record on its page, from 0.
        id: The id of the record, or ``None`` if the record has no readable id.
        field: The malformed place, such as ``$.id``. ``$`` is the whole record.
        reason: The reason why the record cannot be read.
        raw: The bytes of the record as received.
    """

    index: int
    id: str | None
    field: str
    reason: str
    raw: bytes

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as JSON-ready values. ``raw`` becomes text.

        Invalid UTF-8 in it is replaced.

        Examples:
            >>> MalformedRecord(0, None, "$.id", "it is missing", b"{}").to_dict()["raw"]
            '{}'
        """
        return msgspec.structs.asdict(self) | {"raw": self.raw.decode(errors="replace")}

    @classmethod
    def from_json(cls, raw: bytes | str | msgspec.Raw) -> Self:
        """Return the malformed record from the JSON that :meth:`to_json` wrote.

        Args:
            raw: The result of :meth:`to_json`.

        Raises:
            DecodeError: ``raw`` is something else.

        Examples:
            >>> one = MalformedRecord(0, None, "$.id", "it is missing", b"{}")
            >>> MalformedRecord.from_json(one.to_json()) == one
            True
        """
        try:
            found = msgspec.json.decode(raw, type=_Form)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise DecodeError(f"not a valid {cls.__name__}: {error}", field="$") from None
        return cls(found.index, found.id, found.field, found.reason, found.raw.encode())

    @classmethod
    def _json_fields(cls) -> dict[str, Any]:
        fields = msgspec.structs.fields(_Form)
        return {one.name: Required[one.type] if one.required else one.type for one in fields}

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # The repr omits `raw`, because it is customers' data.
        shown = {"index": self.index, "id": self.id and one_line(self.id, _LONGEST_SHOWN)}
        return [*shown.items(), ("field", self.field), ("reason", self.reason)]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        return build_fields_table(repr(self), self.to_dict())


class _Form(msgspec.Struct):
    """The JSON form of a malformed record."""

    index: int
    field: str
    reason: str
    raw: str
    id: str | None = None
