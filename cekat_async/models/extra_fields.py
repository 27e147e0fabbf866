"""Which unknown and mistyped fields the records of a page have."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from cekat_async.models.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cekat_async.models.base import Record

__all__ = ["ExtraFields", "count_extra_fields"]


class ExtraFields(NamedTuple):
    """The fields in the ``extra`` of some records, and how many records have each.

    Attributes:
        unknown: The names of fields that this version does not know.
        mistyped: The names of fields of another type than documented.
    """

    unknown: dict[str, int]
    mistyped: dict[str, int]


def count_extra_fields(records: Iterable[Record]) -> ExtraFields:
    """Return how many records have which unknown fields, and which mistyped fields."""
    # Most records have neither. Skipping them takes a tenth of the time.
    found = [parts for record in records if (parts := _list_parts_with_extra(record))]
    return ExtraFields(_count_names(found, known=False), _count_names(found, known=True))


def _count_names(records: Iterable[list[tuple[str, Record]]], *, known: bool) -> dict[str, int]:
    names = (
        {
            f"{place}{name}"
            for place, part in parts
            for name in part.extra
            if known is (name in part.__struct_fields__ and name != "extra")
        }
        for parts in records
    )
    return dict(Counter(chain.from_iterable(names)))


def _list_parts_with_extra(record: Record) -> list[tuple[str, Record]]:
    """Return those of a record, its labels and its message previews that have fields in ``extra``.

    Each has the prefix of its fields' names.
    """
    parts = [("", record)] if record.extra else []
    if isinstance(record, Conversation):
        parts += [("labels.", label) for label in record.labels if label.extra]
        if (first := record.first_message) is not None and first.extra:
            parts.append(("first_message.", first))
        if (last := record.last_message) is not None and last.extra:
            parts.append(("last_message.", last))
    return parts
