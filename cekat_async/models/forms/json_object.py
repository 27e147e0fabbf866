"""The base of values with a JSON form: ``to_dict``, ``to_json``, ``from_dict``, ``from_json``."""

# Callers may pass data of any type, and isinstance cannot show what a container holds.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self

import msgspec

from cekat_async.errors import DecodeError
from cekat_async.models.forms.pydantic_schema import (
    LazySerializer,
    build_object_schema,
    describe_object,
)

__all__ = ["JsonMapping", "JsonObject"]


class JsonObject(msgspec.Struct, frozen=True):
    """A value with its own JSON form, which differs from the form that :mod:`msgspec` writes.

    Such a value works as a field of pydantic models, and therefore in FastAPI.
    """

    __pydantic_serializer__ = LazySerializer()

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready data.

        Examples:
            >>> page = await cekat.conversations.page()
            >>> sorted(page.to_dict())
            ['data', 'malformed_records', 'metadata', 'success']
        """
        raise NotImplementedError

    def to_json(self) -> bytes:
        """Return the result of :meth:`to_dict` as one line of JSON, in UTF-8.

        Examples:
            >>> Label(id="l1", name="vip").to_json()
            b'{"id":"l1","name":"vip"}'
        """
        return msgspec.json.encode(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the value whose :meth:`to_dict` returns ``data``.

        Args:
            data: The fields. The value of a field may be a JSON value, anything that :mod:`msgspec`
                can write as JSON (such as a ``datetime`` or a ``UUID``), a record, or a list of
                records.

        Raises:
            DecodeError: ``data`` is not a dict, contains something that has no JSON form, or is
                malformed. The error's ``field`` is the malformed place.

        Examples:
            >>> Conversation.from_dict({"id": "c1", "labels": [Label(name="vip")]}).labels
            (Label(),)
        """
        return cls.from_json(_encode(data, cls))

    @classmethod
    def from_json(cls, raw: bytes | str | msgspec.Raw) -> Self:
        """Return the value whose :meth:`to_json` returns ``raw``.

        Args:
            raw: The JSON.

        Raises:
            DecodeError: The JSON is malformed. The error's ``field`` is the malformed place.

        Examples:
            >>> Inbox.from_json('{"id": "i1", "name": "Support"}').name
            'Support'
        """
        raise NotImplementedError

    @classmethod
    def _json_fields(cls) -> dict[str, Any]:
        """Return the types of the fields of the JSON form, as in :func:`build_object_schema`."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: Any) -> Any:
        return build_object_schema(cls, cls._json_fields(), handler)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return describe_object(cls, schema, handler)


class JsonMapping(JsonObject, frozen=True):
    """A value that is also a read-only mapping with the items of its :meth:`to_dict`.

    ``dict(value)`` and ``f(**value)`` work, and code that accepts any mapping accepts the value.
    """

    def __getitem__(self, name: str) -> Any:
        return self.to_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    def __bool__(self) -> bool:
        return True  # true even if all fields are missing

    def __contains__(self, name: object) -> bool:
        return name in self.to_dict()

    def keys(self) -> KeysView[str]:
        """Return the names in :meth:`to_dict`.

        Examples:
            >>> "contact_name" in decode_conversation('{"id": "c1"}').keys()
            True
        """
        return self.to_dict().keys()

    def values(self) -> ValuesView[Any]:
        """Return the values in :meth:`to_dict`.

        Examples:
            >>> "c1" in decode_conversation('{"id": "c1"}').values()
            True
        """
        return self.to_dict().values()

    def items(self) -> ItemsView[str, Any]:
        """Return the names and values in :meth:`to_dict`.

        Examples:
            >>> ("id", "c1") in decode_conversation('{"id": "c1"}').items()
            True
        """
        return self.to_dict().items()

    # Without this line, reversed() would request items by number.
    __reversed__ = None

    def get(self, name: str, default: Any = None) -> Any:
        """Return one value of :meth:`to_dict`, or ``default`` if the name is missing.

        Args:
            name: The name.
            default: The value to return if the name is missing. Default ``None``.

        Examples:
            >>> decode_conversation('{"id": "c1"}').get("color", "none")
            'none'
        """
        return self.to_dict().get(name, default)


Mapping.register(JsonMapping)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def _encode(data: object, kind: type[JsonObject]) -> bytes:
    # A record of another type is a mapping too, but not a valid argument.
    if not isinstance(data, Mapping) or (
        isinstance(data, JsonObject) and not isinstance(data, kind)
    ):
        found = type(data).__name__
        raise DecodeError(f"not a valid {kind.__name__}: expected a dict, got {found}", field="$")
    try:
        plain = {key: _replace_objects(value) for key, value in data.items()}
        try:
            return msgspec.json.encode(plain)
        except UnicodeEncodeError:
            return _encode_surrogates(plain)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise DecodeError(f"not a valid {kind.__name__}: {reason}", field="$") from None


def _replace_objects(value: Any) -> Any:
    """Return the value of a field, with each record in it replaced with its JSON form."""
    if isinstance(value, (list, tuple)):
        return [one.to_dict() if isinstance(one, JsonObject) else one for one in value]
    return value.to_dict() if isinstance(value, JsonObject) else value


def _encode_surrogates(plain: dict[str, Any]) -> bytes:
    """Return JSON in which unpaired surrogates are escaped, as a server may send them."""
    from json import dumps  # noqa: PLC0415 - few texts need it

    return dumps(msgspec.to_builtins(plain)).encode()
