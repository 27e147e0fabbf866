"""Which records a walk has handed out, in little memory; and pages without those."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import msgspec

from cekat_async._raw_json import fits_at_once, record_id
from cekat_async.models import RawPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async.models import ConversationPage

__all__ = ["Seen", "names_of", "only"]

_SIZE = 2**64
_FULL = 32


class Seen:
    """A set of names that only grows, in about 10 bytes for each.

    It keeps their 64-bit hashes, which are of this process alone: among ten million names, two
    have the same once in 370,000 such walks. A set of Python would take 100 bytes for each.
    """

    def __init__(self) -> None:
        # Linear hashing: the buckets below `_next` have been split in two, at `2 * _base`, and
        # each further name splits one more, so that no single addition takes long.
        self._buckets = [array("Q")]
        self._base = 1
        self._next = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def has(self, name: str | bytes) -> bool:
        """Return whether a name was added."""
        key = _key(name)
        return key in self._buckets[self._index(key)]

    def add(self, name: str | bytes) -> bool:
        """Add a name, and return whether it is new."""
        key = _key(name)
        bucket = self._buckets[self._index(key)]
        if key in bucket:
            return False
        bucket.append(key)
        self._count += 1
        if self._count > _FULL * len(self._buckets):
            self._split()
        return True

    def _index(self, key: int) -> int:
        index = key % self._base
        return index if index >= self._next else key % (2 * self._base)

    def _split(self) -> None:
        keys, index, base = self._buckets[self._next], self._next, 2 * self._base
        self._buckets[index] = array("Q", (key for key in keys if key % base == index))
        self._buckets.append(array("Q", (key for key in keys if key % base != index)))
        self._next += 1
        if self._next == self._base:
            self._base, self._next = base, 0


def _key(name: str | bytes) -> int:
    # Python gives a text and its bytes the same hash, and also two texts that lie alike in memory,
    # such as "ab" and "\u6261".
    return (hash(name.encode()) if isinstance(name, str) else ~hash(name)) % _SIZE


def names_of(page: ConversationPage | RawPage) -> list[str | bytes]:
    """Return what each record of a page is known by, in order: its id, or all of it without one."""
    if isinstance(page, RawPage):
        return _raw_names_of(page)
    names: list[str | bytes] = []
    odd_at = {odd.index: odd.raw for odd in page.odd_records}
    for index, id_ in enumerate(page.ids):
        names.append(odd_at[index] if id_ is None else id_)
    return names


def _raw_names_of(page: RawPage) -> list[str | bytes]:
    # The ids of a larger page could take too long to read at once. Then its bytes must do.
    if not fits_at_once(page.body):
        return [bytes(raw) for raw in page.raw]
    return [record_id(raw) or bytes(raw) for raw in page.raw]


def only(page: ConversationPage, wanted: Sequence[bool]) -> ConversationPage:
    """Return a page of those of its records that are wanted, its raw ones and its body too."""
    if all(wanted):
        return page
    indices = [index for index, is_wanted in enumerate(wanted) if is_wanted]
    odd_at = {odd.index: odd for odd in page.odd_records}
    # Where the records that are not odd stand, in the order of `items`.
    plain = (index for index in range(len(wanted)) if index not in odd_at)
    raw = page.raw
    return msgspec.structs.replace(
        page,
        items=tuple(item for index, item in zip(plain, page.items, strict=True) if wanted[index]),
        odd_records=tuple(
            msgspec.structs.replace(odd_at[index], index=place)
            for place, index in enumerate(indices)
            if index in odd_at
        ),
        body=b'{"data":[%s]}' % b",".join(bytes(raw[index]) for index in indices),
        kept_raw=None if page.kept_raw is None else [raw[index] for index in indices],
    )
