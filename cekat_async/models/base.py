"""What all record types share: the base classes, open enums, and the fields nobody knows."""

# No postponed annotations: msgspec reads them when a struct is made.

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NoReturn, Self, TypeAlias

import msgspec

__all__ = ["Extra", "IdentifiedRecord", "OpenEnum", "PlatformType", "Record", "Timestamp"]


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


class PlatformType(OpenEnum):
    """The channel of a conversation or an inbox; unknown channels are kept unchanged."""

    WHATSAPP = "whatsapp"
    LIVECHAT = "livechat"
    MESSENGER = "messenger"
    INSTAGRAM = "instagram"
    # From other pages of the API's documentation (API.md).
    TELEGRAM = "telegram"


class Extra(dict[str, Any]):
    """The fields of a record that are unknown or of another type, as plain JSON values.

    A class of its own, because no JSON decodes to it: should the API one day send a field named
    ``extra``, it is kept like any other unknown field, and does not end up as this one. It cannot
    be changed, so that the many records without unknown fields can share one that is empty.
    """

    __slots__ = ()

    def _refuse(self: Any, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the extra fields of a record cannot be changed; copy them with dict()")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        # By its names alone: the values may be lists and objects. Equal ones have equal names.
        return hash(frozenset(self))

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)


_NO_EXTRA = Extra()


class Record(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    repr_omit_defaults=True,
    # A record cannot come to hold itself, so that the collector need not look at it: a list of
    # them is a third cheaper to build.
    gc=False,
):
    """What all records share. Two are equal when all their fields are.

    Unknown fields are refused by the plain decoder of :mod:`msgspec`, so that the fast path
    notices them; the package's own decoding keeps them in ``extra``. To read a record back from
    JSON use :func:`cekat_async.decode_conversation`, not ``msgspec.json.decode``.
    """

    extra: Extra = _NO_EXTRA

    # What few records have: where it is None, it was probably not sent.
    _rare: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values under the API's names, unknown fields included.

        Timestamps are ISO 8601 text with their zone, to the millisecond (to the microsecond
        where that is needed), as the API writes them.
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "extra"}
        return {
            name: _plain(value)
            for name, value in fields.items()
            if value is not None or name not in self._rare
        } | self.extra


_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Timestamp: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""One without a zone is rejected here, and gets UTC on the decoder's tolerant path, so that pages
without such timestamps need no check of each."""


class IdentifiedRecord(Record, frozen=True, kw_only=True):
    """A record with an id of its own, by which it is hashed."""

    id: _Id

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
