"""The types of fields: open enums, timestamps, and unknown fields."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NoReturn, Self, TypeAlias, TypeVar

import msgspec

from cekat_async.models.forms.pydantic_schema import build_enum_schema, describe_enum

__all__ = ["NO_EXTRA", "Extra", "FrozenDict", "Id", "OpenEnum", "PlatformType", "Timestamp"]

T = TypeVar("T")


class OpenEnum(StrEnum):
    """A set of known strings that also accepts unknown strings, and keeps them unchanged."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # The member is not added to the class, so that a million different unknown values use no
        # memory. The member compares, hashes and pickles like its string.
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether this version of the package knows the value."""
        return self.value in type(self)._value2member_map_

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        return build_enum_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        return describe_enum(cls)


class PlatformType(OpenEnum):
    """The channel of a conversation or an inbox. Each member is equal to its string.

    An unknown channel is kept unchanged, as a member that is not in the class.

    Attributes:
        WHATSAPP: ``"whatsapp"``
        LIVECHAT: ``"livechat"``
        MESSENGER: ``"messenger"``
        INSTAGRAM: ``"instagram"``
        TELEGRAM: ``"telegram"``. The documentation of conversations does not list this channel, but
            other pages of the API's documentation do (docs/api.md#conversations).

    Examples:
        >>> PlatformType.WHATSAPP == "whatsapp"
        True
    """

    WHATSAPP = "whatsapp"
    LIVECHAT = "livechat"
    MESSENGER = "messenger"
    INSTAGRAM = "instagram"
    TELEGRAM = "telegram"


class FrozenDict(dict[str, T]):
    """A dict that cannot be changed."""

    __slots__ = ()

    def _refuse(self: Any, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be changed: copy it with dict()")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, T]]]:
        return type(self), (dict(self),)


class Extra(FrozenDict[Any]):
    """The unknown and mistyped fields of a record, as plain JSON values.

    This is a separate class because no JSON decodes to it. If the API ever sends a field named
    ``extra``, that field is kept like any other unknown field. An ``Extra`` cannot be changed, so
    all records without unknown fields share one empty ``Extra``.
    """

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        # Only the names are hashed, because the values may be lists and objects, which have no
        # hash.
        return hash(frozenset(self))


NO_EXTRA = Extra()

Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Timestamp: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""A timestamp with a time zone.

A timestamp without a zone is rejected here, and the slow decoder reads it as UTC. So pages whose
timestamps all have a zone need no extra check."""
