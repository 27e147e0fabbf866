"""The fast decoder for records with expected fields: documented fields and learned fields.

Accounts send fields that are not documented, and fields that do not have the documented type. These
fields are the same on every page of an account. So msgspec decodes a struct that also has these
fields, and :class:`RecordShape` turns the struct into the record. This conversion takes far less
time than decoding each field separately.

Three classes have the fields of a record in the same order: the record type, the struct, and a
class that takes its fields by position. An object of the third class becomes a record when its
``__class__`` is set to the record type. Python allows this because both classes have the same
layout.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from itertools import starmap
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple, force_setattr

from cekat_async.models.decoding import build_malformed, get_decoder, pause_if_large
from cekat_async.models.fields import Extra
from cekat_async.models.json_scanner import UNDECODABLE
from cekat_async.models.raw_json import AT_ONCE, count_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cekat_async.models.base import Record
    from cekat_async.models.decoding import RecordDecoder
    from cekat_async.models.malformed import MalformedRecord
    from cekat_async.models.steps import Steps

__all__ = ["RecordShape", "get_shape"]

R = TypeVar("R", bound="Record")
Raw: TypeAlias = "bytes | msgspec.Raw"

# Decoding takes about 0.1 µs per value, so more values would block the event loop. A record of the
# API has about fifty values.
_MOST_VALUES = 200_000
# The number of records to build before the event loop runs.
_PER_STEP = 500
# The most names that are learned. If each record has new names, the slow path decodes the records.
_MOST_NAMES = 64


class RecordShape(Generic[R]):
    """The fields that records are expected to have: the fields of their type and learned fields.

    Args:
        decoder: Decodes records that do not have this shape.
        learned: The names of undocumented fields, and of documented fields whose value may have
            another type.

    Attributes:
        struct: The type that msgspec decodes. If no names were learned, this is the record type
            itself.
    """

    def __init__(self, decoder: RecordDecoder[R], learned: frozenset[str] = frozenset()) -> None:
        self._decoder = decoder
        self._learned = learned
        self._unknown = sorted(learned - decoder.readers.keys())
        self._absent = (UNSET,) * len(self._unknown)
        count = len(decoder.kind.__struct_fields__)
        self._get_known = itemgetter(slice(count))
        self._get_unknown = itemgetter(slice(count, None))
        self._doubtful = [item for item in decoder.readers.items() if item[0] in learned]
        self.struct: type[Any] = self._define_struct() if learned else decoder.kind
        self._build: Callable[..., R] = _define_positional(decoder.kind)
        self._decode = msgspec.json.Decoder(self.struct).decode

    def extended(self, unexpected: Iterable[str]) -> RecordShape[R]:
        """Return a shape with more names, or this shape if it knows the names or has too many."""
        names = self._learned.union(filter(_can_be_learned, unexpected))
        if names == self._learned or len(names) > _MOST_NAMES:
            return self
        return RecordShape(self._decoder, names)

    def decode(self, index: int, raw: Raw, unexpected: set[str]) -> Steps[R | MalformedRecord]:
        """Return the record at position ``index`` of a page, or a malformed record.

        Args:
            index: The position of the record on its page, from 0.
            raw: The record as JSON.
            unexpected: A set that receives the names of the fields that this shape does not expect.
        """
        if len(raw) > AT_ONCE and count_values(raw) > _MOST_VALUES:
            reason = f"it has more than {_MOST_VALUES:,} values"
            return (yield from build_malformed(index, raw, bytes(raw), "$", reason))
        yield from pause_if_large(raw)
        with suppress(*UNDECODABLE):
            return (yield from self.to_records([self._decode(raw)]))[0]
        yield from pause_if_large(raw)
        return (yield from self._decoder.decode(index, raw, unexpected))

    def to_records(self, structs: Sequence[Any]) -> Steps[tuple[R, ...]]:
        """Return the records of decoded structs of this shape."""
        if not self._learned:
            return tuple(structs)
        records: list[R] = []
        for begin in range(0, len(structs), _PER_STEP):
            batch = structs[begin : begin + _PER_STEP]
            if self._doubtful:
                yield from self._read_doubtful(batch)
            records += self._convert(batch)
            if len(batch) == _PER_STEP:
                yield
        return tuple(records)

    def _read_doubtful(self, structs: Sequence[Any]) -> Steps[None]:
        """Read the fields that may have another type. If they do, keep their original values."""
        for struct in structs:
            mistyped: dict[str, Any] = {}
            for name, reader in self._doubtful:
                if isinstance(value := getattr(struct, name), msgspec.Raw):
                    setattr(struct, name, (yield from reader.read(name, value, mistyped)))
            if mistyped:
                struct.extra = Extra(sorted(mistyped.items()))

    def _convert(self, structs: Sequence[Any]) -> list[R]:
        """Return records with the values of structs."""
        values = [*map(astuple, structs)]
        records = [*starmap(self._build, map(self._get_known, values))]
        for record, unknown in zip(records, map(self._get_unknown, values), strict=True):
            force_setattr(record, "__class__", self._decoder.kind)
            if unknown != self._absent:
                force_setattr(record, "extra", self._build_extra(unknown, record.extra))
        return records

    def _build_extra(self, unknown: tuple[Any, ...], mistyped: Extra) -> Extra:
        if not mistyped and UNSET not in unknown:
            return Extra(zip(self._unknown, unknown, strict=True))
        values = dict(zip(self._unknown, unknown, strict=True)) | mistyped
        return Extra({name: values[name] for name in sorted(values) if values[name] is not UNSET})

    def _define_struct(self) -> type[Any]:
        kind = self._decoder.kind
        known = [
            (
                field.name,
                msgspec.Raw if field.name in self._learned else field.type,
                _copy_default(field),
            )
            for field in msgspec.structs.fields(kind)
        ]
        # Field names are generated, because JSON allows names that Python does not allow.
        unknown = [
            (f"unknown_{number}", Any, msgspec.field(default=UNSET, name=name))
            for number, name in enumerate(self._unknown)
        ]
        return msgspec.defstruct(
            kind.__name__, [*known, *unknown], kw_only=True, gc=False, forbid_unknown_fields=True
        )


def _copy_default(field: msgspec.structs.FieldInfo) -> Any:
    default: dict[str, Any] = {
        "default": field.default,
        "default_factory": field.default_factory,
    }
    return msgspec.field(**default)


@cache
def _define_positional(kind: type[R]) -> Callable[..., R]:
    """Return a class of the same layout that takes its fields by position.

    This is four times as fast as passing fields by name. Its objects become records when their
    ``__class__`` is set to the record type.
    """
    fields = [(field.name, Any) for field in msgspec.structs.fields(kind)]
    post_init = getattr(kind, "__post_init__", None)
    positional: Any = msgspec.defstruct(
        kind.__name__,
        fields,
        bases=kind.__bases__,
        frozen=True,
        gc=False,
        namespace={"__post_init__": post_init} if post_init else None,
    )
    return positional  # type: ignore[no-any-return]


# msgspec rejects field names with these characters.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f"\\]')


def _can_be_learned(name: str) -> bool:
    # A record already has an attribute named extra.
    return name != "extra" and not _NOT_IN_NAMES.search(name)


def get_shape(kind: type[R]) -> RecordShape[R]:
    """Return the shape of records that have no fields other than those of their type."""
    return _build_shape(kind)


@cache
def _build_shape(kind: Any) -> RecordShape[Any]:
    return RecordShape(get_decoder(kind))
