"""Counts the unknown and mistyped fields in the records of a page."""

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
    """The fields in the ``extra`` of some records, each with the number of records that have it.

    Attributes:
        unknown: The fields that this version of the package does not know.
        mistyped: The fields whose value does not have the documented type.
    """

    unknown: dict[str, int]
    mistyped: dict[str, int]


def count_extra_fields(records: Iterable[Record]) -> ExtraFields:
    """Return how many records have each unknown field and each mistyped field."""
    # Most records have no such fields. Skipping these records reduces the time to a tenth.
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
    """Return those of a record, its labels and its message previews that have ``extra`` fields.

    Each is paired with the prefix for the names of its fields.
    """
    parts = [("", record)] if record.extra else []
    if isinstance(record, Conversation):
        parts += [("labels.", label) for label in record.labels if label.extra]
        if (first := record.first_message) is not None and first.extra:
            parts.append(("first_message.", first))
        if (last := record.last_message) is not None and last.extra:
            parts.append(("last_message.", last))
    return parts
