"""Deduplication: a set of the records that a walk has yielded, and a filter that removes those."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import msgspec

from cekat_async.pages import only, record_names

if TYPE_CHECKING:
    from cekat_async._parallel.walk import ParallelWalk
    from cekat_async.pages import ConversationPage

__all__ = ["EachOnce", "HashSet"]

_SIZE = 2**64
_FULL = 32


class EachOnce:
    """Reduces the pages of a walk to the records that it has not yielded before."""

    def __init__(self, walk: ParallelWalk) -> None:
        self._walk = walk
        self._seen = HashSet()

    def reduce(self, page: ConversationPage) -> ConversationPage | None:
        """Return the new part of a page; ``None`` if it has records, and none of them is new.

        Its ``next_cursor`` is where a sequential walk would find all that has not been yielded.
        """
        is_new = [self._seen.add(name) for name in record_names(page)]
        if is_new and not any(is_new):
            return None
        return msgspec.structs.replace(only(page, is_new), next_cursor=self._walk.head_cursor)


class HashSet:
    """A set of names that only grows, in about 10 bytes for each.

    It stores their 64-bit hashes. Among ten million names, two have the same hash in one of 370,000
    such walks. A set of Python would take 100 bytes for each.
    """

    def __init__(self) -> None:
        # Linear hashing: the buckets below `_next` have been split in two, and the others are split
        # one by one, so that no single addition takes long.
        self._buckets = [array("Q")]
        self._base = 1
        self._next = 0
        self._count = 0

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
    # Python gives a text and its bytes the same hash, and also two texts with the same bytes in
    # memory, such as "ab" and "\u6261".
    return (hash(name.encode()) if isinstance(name, str) else ~hash(name)) % _SIZE
