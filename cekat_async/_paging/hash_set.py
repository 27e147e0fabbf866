"""A set that only remembers hashes, so that millions of names take little memory."""

from __future__ import annotations

from array import array
from sys import byteorder

__all__ = ["HashSet", "hash_name"]

_SIZE = 2**64
_BYTES = 8
_FULL = 128


class HashSet:
    """A set of 64-bit hashes that only grows, in about 10 bytes for each.

    Among ten million names, two have the same hash in one of 370,000 such walks. A set of Python
    would take 70 to 100 bytes for each.
    """

    def __init__(self) -> None:
        # Linear hashing: the buckets below `_next` have been split in two, and the others are split
        # one by one, so that no single addition takes long.
        self._buckets = [bytearray()]
        self._base = 1
        self._next = 0
        self._count = 0

    def add(self, value: int) -> bool:
        """Add what :func:`hash_name` or ``hash`` returned, and return whether it is new."""
        key = value % _SIZE
        bucket, data = self._buckets[self._index(key)], key.to_bytes(_BYTES, byteorder)
        if _contains(bucket, data):
            return False
        bucket += data
        self._count += 1
        if self._count > _FULL * len(self._buckets):
            self._split()
        return True

    def _index(self, key: int) -> int:
        index = key % self._base
        return index if index >= self._next else key % (2 * self._base)

    def _split(self) -> None:
        keys = array("Q", bytes(self._buckets[self._next]))
        index, base = self._next, 2 * self._base
        self._buckets[index] = bytearray(array("Q", (key for key in keys if key % base == index)))
        self._buckets.append(bytearray(array("Q", (key for key in keys if key % base != index))))
        self._next += 1
        if self._next == self._base:
            self._base, self._next = base, 0


def hash_name(name: str | bytes) -> int:
    """Return a hash that tells a text from its bytes."""
    # Python gives both the same hash, and also two texts with the same bytes in memory, such as
    # "ab" and "\u6261".
    return hash(name.encode()) if isinstance(name, str) else ~hash(name)


def _contains(bucket: bytearray, data: bytes) -> bool:
    """Whether a bucket has a hash. The same bytes across two of its hashes do not count."""
    place = bucket.find(data)
    while place > 0 and place % _BYTES:
        place = bucket.find(data, place + 1)
    return place >= 0
