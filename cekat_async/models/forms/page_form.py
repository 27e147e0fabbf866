"""The JSON form of a page: the API's form, with the malformed records in a separate list."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from typing import Annotated, Any, ClassVar, Generic, Required, Self, TypeVar

import msgspec

from cekat_async.errors import DecodeError
from cekat_async.models.base import IdentifiedRecord
from cekat_async.models.forms.json_object import JsonObject
from cekat_async.models.malformed import MalformedRecord
from cekat_async.models.record_shape import RecordShape, get_shape
from cekat_async.models.steps import run_steps

__all__ = ["JsonPage"]

R = TypeVar("R", bound=IdentifiedRecord)


class _Malformed(msgspec.Struct):
    """The position and the bytes of a malformed record, from which the record is decoded again."""

    index: Annotated[int, msgspec.Meta(ge=0)]
    raw: str


class _Form(msgspec.Struct):
    data: list[msgspec.Raw]
    malformed_records: list[_Malformed] = []
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class JsonPage(JsonObject, Generic[R], frozen=True, kw_only=True):
    """A page with a JSON form.

    Attributes:
        items: The records.
        malformed_records: The malformed records, which are not in ``items``.
        body: The whole reply as received.
        kept_raw: The bytes of the records if it would take long to cut them from the body again.
            Otherwise ``None``. Use ``raw``, which always works.
    """

    items: tuple[R, ...] = ()
    malformed_records: tuple[MalformedRecord, ...] = ()
    body: bytes = b'{"data":[]}'
    kept_raw: list[msgspec.Raw] | None = None

    # ``_record`` is the type of the records. ``_metadata`` is a struct of the attributes that are
    # in the metadata of the JSON. Its fields have the names of the attributes, or are themselves
    # such structs.
    _record: ClassVar[type[Any]]
    _metadata: ClassVar[type[msgspec.Struct]]

    def to_dict(self) -> dict[str, Any]:
        """Return the page as JSON-ready values, in the form of the API's replies.

        ``data`` contains the ``to_dict`` of each record. ``malformed_records`` contains the
        malformed records, and ``metadata`` contains the cursor or the page number. The result omits
        the whole reply (``body``) and the resume position.

        Examples:
            >>> page = await cekat.inboxes.page(limit=2)
            >>> page.to_dict()["metadata"]
            {'pagination': {'current_page': 1, 'total_page': 4, 'total_items': 8}}
        """
        return {
            "success": True,
            "data": [item.to_dict() for item in self.items],
            "malformed_records": [record.to_dict() for record in self.malformed_records],
            "metadata": msgspec.to_builtins(_fill(self._metadata, self)),
        }

    @classmethod
    def from_json(cls, raw: bytes | str | msgspec.Raw) -> Self:
        """Return the page whose :meth:`to_json` returned ``raw``.

        Records are read in the same way as in a reply of the API. ``body`` is built from their
        bytes in ``raw``.

        Args:
            raw: The result of :meth:`to_json`, or a reply of the API.

        Raises:
            DecodeError: ``raw`` is neither.

        Examples:
            >>> page = await cekat.inboxes.page()
            >>> InboxPage.from_json(page.to_json()).items == page.items
            True
        """
        try:
            form = msgspec.json.decode(raw, type=_Form)
            metadata = msgspec.json.decode(form.metadata, type=cls._metadata)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise DecodeError(f"not a valid {cls.__name__}: {error}", field="$") from None
        records = form.data
        for one in sorted(form.malformed_records, key=_get_index):
            records.insert(one.index, msgspec.Raw(one.raw.encode()))
        shape: RecordShape[R] = get_shape(cls._record)
        found = [run_steps(shape.decode(*item, set())) for item in enumerate(records)]
        return cls(
            items=tuple(one for one in found if not isinstance(one, MalformedRecord)),
            malformed_records=tuple(one for one in found if isinstance(one, MalformedRecord)),
            body=b'{"data":[%s]}' % b",".join(map(bytes, records)),
            kept_raw=records,
            **_flatten(metadata),
        )

    @classmethod
    def _json_fields(cls) -> dict[str, Any]:
        return {
            "success": bool,
            "data": Required[list[cls._record]],  # type: ignore[name-defined]
            "malformed_records": list[MalformedRecord],
            "metadata": _describe(cls._metadata),
        }


def _get_index(record: _Malformed) -> int:
    return record.index


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _fill(kind: type[msgspec.Struct], page: object) -> msgspec.Struct:
    """Return a struct with the attributes of a page."""
    fields = msgspec.structs.fields(kind)
    return kind(
        **{
            one.name: _fill(one.type, page) if _is_struct(one.type) else getattr(page, one.name)
            for one in fields
        }
    )


def _flatten(struct: msgspec.Struct) -> dict[str, Any]:
    """Return the attributes of a page from a struct that contains them."""
    found: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(struct).items():
        found |= _flatten(value) if isinstance(value, msgspec.Struct) else {name: value}
    return found


def _describe(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the types of a struct's fields by their JSON names."""
    return {
        one.encode_name: _describe(one.type) if _is_struct(one.type) else one.type
        for one in msgspec.structs.fields(kind)
    }
