"""Makes values of the package work as fields of pydantic models, and therefore in FastAPI.

The package does not depend on pydantic. When pydantic finds one of the package's types, it calls a
method of the type, and that method calls a function of this module. Only these functions import
pydantic.
"""

# Annotations may be of any type, and isinstance cannot show what a dict of annotations holds.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from functools import cache, partial
from inspect import getdoc
from typing import TYPE_CHECKING, Any, Required, get_args, get_origin

from cekat_async.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema, SchemaSerializer

    from cekat_async.models.forms.json_object import JsonObject

__all__ = [
    "LazySerializer",
    "build_enum_schema",
    "build_object_schema",
    "describe_enum",
    "describe_object",
]


def build_object_schema(
    kind: type[JsonObject], fields: Mapping[str, Any], handler: GetCoreSchemaHandler
) -> CoreSchema:
    """Return the schema by which pydantic validates, serialises and documents objects of a type.

    Valid values are instances of the type, and dicts that ``from_dict`` can read. The serialised
    form is the result of ``to_dict``.

    Args:
        kind: The type.
        fields: The type of each field of the serialised form. The type is ``Required[…]`` if the
            field is always present. A dict of types stands for an object.
        handler: pydantic's handler, which returns the schemas of the fields' types.
    """
    from pydantic_core import core_schema  # noqa: PLC0415 - only pydantic calls this

    return core_schema.no_info_wrap_validator_function(
        partial(_validate, kind),
        # This schema only describes the JSON. The schema does not validate, because a field may
        # have any type.
        _build_fields_schema(fields, handler),
        ref=_name(kind),
        serialization=_build_serialization(kind),
    )


def describe_object(
    kind: type[JsonObject], schema: Any, handler: GetJsonSchemaHandler
) -> dict[str, Any]:
    """Return the JSON schema of a type. ``schema`` is the core schema of the type."""
    return {
        **handler(schema["schema"]),
        "title": kind.__name__,
        "description": _describe(kind),
        "additionalProperties": True,
    }


def build_enum_schema(kind: type[StrEnum]) -> CoreSchema:
    """Return the schema by which pydantic validates, serialises and documents an open enum.

    Any string except the empty string is valid. (An empty field of an HTML form is not a status.)
    In Python, the serialised form is the member. In JSON, it is the string.
    """
    from pydantic_core import core_schema  # noqa: PLC0415 - only pydantic calls this

    return core_schema.no_info_after_validator_function(
        kind,
        core_schema.str_schema(min_length=1),
        ref=_name(kind),
        serialization=core_schema.plain_serializer_function_ser_schema(
            str.__str__, return_schema=core_schema.str_schema(), when_used="json"
        ),
    )


def describe_enum(kind: type[StrEnum]) -> dict[str, Any]:
    """Return the JSON schema of an open enum: any string. The known values are examples."""
    return {
        "type": "string",
        "title": kind.__name__,
        "description": _describe(kind),
        "examples": [member.value for member in kind],
    }


class LazySerializer:
    """The class attribute that pydantic uses to serialise a value in a field of type ``Any``."""

    def __get__(self, _: object, kind: type[JsonObject]) -> SchemaSerializer:
        try:
            return _build_serializer(kind)
        except ImportError:  # so that hasattr() returns False without pydantic
            raise AttributeError("pydantic is not installed") from None


@cache
def _build_serializer(kind: type[JsonObject]) -> SchemaSerializer:
    from pydantic_core import SchemaSerializer, core_schema  # noqa: PLC0415 - pydantic asks

    return SchemaSerializer(core_schema.any_schema(serialization=_build_serialization(kind)))


def _build_serialization(kind: type[JsonObject]) -> Any:
    from pydantic_core import core_schema  # noqa: PLC0415 - pydantic asks

    # The handler applies `include` and `exclude`, such as `response_model_exclude` in FastAPI.
    return core_schema.wrap_serializer_function_ser_schema(
        partial(_serialize, kind), info_arg=True, schema=core_schema.dict_schema()
    )


def _build_fields_schema(fields: Mapping[str, Any], handler: GetCoreSchemaHandler) -> CoreSchema:
    from pydantic_core import core_schema  # noqa: PLC0415 - only pydantic calls this

    found: dict[str, core_schema.TypedDictField] = {}
    for name, declared in fields.items():
        is_required = get_origin(declared) is Required
        type_ = get_args(declared)[0] if is_required else declared
        found[name] = core_schema.typed_dict_field(
            _build_fields_schema(type_, handler)
            if isinstance(type_, dict)
            else handler.generate_schema(type_),
            required=is_required,
        )
    return core_schema.typed_dict_schema(found, extra_behavior="allow")


def _validate(kind: type[JsonObject], value: Any, _: object) -> JsonObject:
    from pydantic_core import PydanticCustomError  # noqa: PLC0415 - only pydantic calls this

    if isinstance(value, kind):
        return value
    try:
        return kind.from_dict(value)
    except DecodeError as error:
        # The reason is passed as a variable, because the template would interpret braces in the
        # text.
        text = {"reason": error.message}
        raise PydanticCustomError("cekat_decoding", "{reason}", text) from None


def _serialize(kind: type[JsonObject], value: Any, handler: Any, info: Any) -> Any:
    from pydantic_core import PydanticSerializationUnexpectedValue  # noqa: PLC0415 - pydantic asks

    if not isinstance(value, kind):
        # This error makes a union try its next type.
        raise PydanticSerializationUnexpectedValue(f"expected a {kind.__name__}")
    found = value.to_dict()
    if info.exclude_none:
        found = {name: part for name, part in found.items() if part is not None}
    return handler(found)


def _describe(kind: type) -> str:
    """Return the first paragraph of the docstring of a type."""
    return " ".join((getdoc(kind) or "").split("\n\n")[0].split())


def _name(kind: type) -> str:
    """Return the unique name of a type in schemas. pydantic shows the part after the last dot."""
    return f"{kind.__module__}.{kind.__qualname__}:{id(kind)}"
