"""The random draws for one record: bytes computed from the seed and the record's number."""

from __future__ import annotations

from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

# The position of each draw in the bytes of a record.
AGE: Final = 0
AGE_SCALE: Final = 1
LAG: Final = 2
NAME_KIND: Final = 3
FIRST_NAME: Final = 4
LAST_NAME: Final = 5
PHONE: Final = slice(6, 10)
AGENT: Final = 10
LABEL: Final = 11
LABEL_FORM: Final = 12
UNDATED: Final = 13
QUESTION: Final = 14
NO_QUESTION: Final = 15
CONTACT_ID: Final = slice(16, 32)
NO_LABELS: Final = slice(32, 34)
NO_LAST_MESSAGE: Final = slice(34, 36)
NO_ADDITIONAL: Final = slice(36, 38)
HAS_PIPELINE: Final = 38
PIPELINE: Final = 39
HAS_COLLABORATORS: Final = 40
COLLABORATOR: Final = 41
HAS_HUMAN: Final = 42
HUMAN: Final = 43
HAS_SLA: Final = 44
SLA: Final = 45
SLA_ROUNDS: Final = 46
NOTES_KIND: Final = 47
NOTE: Final = 48
SPEAKER: Final = 49
MESSAGE: Final = 50
MAILBOX: Final = 51
SPENT: Final = slice(52, 56)
BUSINESS: Final = 56
CITY: Final = 57
RATING: Final = 58
STREET: Final = 59
ADDITIONAL_FIELDS: Final = 60


def draw_record(key: bytes, number: int) -> bytes:
    """Return the draws for record ``number``."""
    # The key is a prefix. Passing it as blake2's own key argument would take twice as long.
    return blake2b(key + number.to_bytes(8, "little")).digest()


def to_int(draw: bytes) -> int:
    """Return a draw of several bytes as a number."""
    return int.from_bytes(draw, "little")


def pick(table: Sequence[_T], draw: int) -> _T:
    """Return the entry that a draw selects from a table."""
    return table[draw % len(table)]


def get_threshold(probability: float, *, bits: int = 8) -> int:
    """Return a threshold. A draw of ``bits`` bits is below it with the given probability."""
    # Rounding up does not change any comparison, and comparing integers is faster.
    return ceil(probability * (1 << bits))
