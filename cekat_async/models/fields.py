"""The types of fields: open enums, timestamps, and the fields that nobody knows."""

# No postponed annotations: msgspec reads them when a struct is made.

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NoReturn, Self, TypeAlias, TypeVar

import msgspec

from cekat_async.models.forms.pydantic_schema import build_enum_schema, describe_enum

__all__ = ["NO_EXTRA", "Extra", "FrozenDict", "Id", "OpenEnum", "PlatformType", "Timestamp"]

T = TypeVar("T")


class OpenEnum(StrEnum):
    """A set of known strings that also accepts unknown ones, and keeps them unchanged."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # Not added to the class: it equals, hashes and pickles as its string, and a million
        # different unknown values leave nothing behind.
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
    """The channel of a conversation or an inbox; unknown channels are kept unchanged."""

    WHATSAPP = "whatsapp"
    LIVECHAT = "livechat"
    MESSENGER = "messenger"
    INSTAGRAM = "instagram"
    # On other pages of the API's documentation: docs/api.md#conversations.
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
    """The fields of a record that are unknown or of another type, as plain JSON values.

    A class of its own, because no JSON decodes to it: should the API one day send a field named
    ``extra``, it is kept like any other unknown field, and does not end up as this one. It cannot
    be changed, so that the many records without unknown fields can share one that is empty.
    """

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        # By its names alone: the values may be lists and objects. Equal ones have equal names.
        return hash(frozenset(self))


NO_EXTRA = Extra()

Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Timestamp: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""One without a zone is rejected here, and gets UTC on the decoder's tolerant path, so that pages
without such timestamps need no check of each."""
