"""The chances that make one record what it is: bytes that follow from the seed and its number."""

from __future__ import annotations

from hashlib import blake2b
from math import ceil
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")
_LAYOUT: Final = Struct("<BBBBBBI BBBBBB 16s HHH BBBBBBBBB BBB BBIBBBBB".replace(" ", ""))


# A struct, since its fields are found faster than those of a named tuple, and there are many.
class Chances(msgspec.Struct, frozen=True, gc=False):
    """Independent numbers, each 0 to 255 unless it says otherwise."""

    age: int
    age_scale: int
    lag: int
    name_kind: int
    first_name: int
    last_name: int
    phone: int  # 32 bits
    agent: int
    label: int
    labels: int
    undated: int
    question: int
    no_question: int
    contact: bytes  # 16 bytes
    no_labels: int  # 16 bits
    no_last: int  # 16 bits
    no_extra: int  # 16 bits
    in_pipeline: int
    pipeline: int
    has_collaborators: int
    collaborator: int
    says_human: int
    human: int
    has_sla: int
    sla: int
    sla_rounds: int
    notes_kind: int
    note: int
    talk: int
    words: int
    mailbox: int
    spent: int  # 32 bits
    business: int
    city: int
    rating: int
    street: int
    extras: int


def draw(key: bytes, number: int) -> Chances:
    """Return the chances of record `number`."""
    # A prefix and not blake2's own key, which would double the time.
    digest = blake2b(key + number.to_bytes(8, "little")).digest()
    return Chances(*_LAYOUT.unpack_from(digest))


def pick(table: Sequence[_T], chance: int) -> _T:
    """Return the entry of a table that a chance points to."""
    return table[chance % len(table)]


def below(share: float, *, bits: int = 8) -> int:
    """Return what a chance of so many bits is below in a share, between 0 and 1, of all cases."""
    # Rounded up, which is the same for whole numbers, and those compare faster to each other.
    return ceil(share * (1 << bits))
