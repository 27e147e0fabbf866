"""A set that stores only hashes, so that millions of names take little memory."""

from __future__ import annotations

from array import array
from sys import byteorder

__all__ = ["HashSet", "hash_name"]

# The array type code for unsigned integers of this many bytes.
_TYPE_CODES = {4: "I", 8: "Q"}
_FULL = 128


class HashSet:
    """A set of hashes. Hashes can be added, but not removed.

    The set takes about a fifth more memory than the hashes themselves. A Python set would take 70
    to 100 bytes per hash. With 64-bit hashes, the chance that two of ten million names have the
    same hash is 1 in 370,000.

    Args:
        width: The number of bytes to keep of each hash: 8, or 4 if a few mistakes do not matter.
    """

    def __init__(self, width: int = 8) -> None:
        self._width = width
        self._size = 256**width
        self._type_code = _TYPE_CODES[width]
        # Linear hashing: the buckets below `_next` have been split in two. The other buckets are
        # split one by one, so that no single addition takes long.
        self._buckets = [bytearray()]
        self._base = 1
        self._next = 0
        self._count = 0

    def add(self, value: int) -> bool:
        """Add a hash, and return whether it is new.

        Args:
            value: The result of :func:`hash_name` or ``hash``, not the hashed object.
        """
        key = value % self._size
        bucket, data = self._buckets[self._index(key)], key.to_bytes(self._width, byteorder)
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
        keys = array(self._type_code, bytes(self._buckets[self._next]))
        index, base = self._next, 2 * self._base
        self._buckets[index] = self._pack([key for key in keys if key % base == index])
        self._buckets.append(self._pack([key for key in keys if key % base != index]))
        self._next += 1
        if self._next == self._base:
            self._base, self._next = base, 0

    def _pack(self, keys: list[int]) -> bytearray:
        return bytearray(array(self._type_code, keys))


def hash_name(name: str | bytes) -> int:
    """Return a hash. A string and its encoded bytes have different hashes."""
    # hash() returns the same number for a string and its bytes. It also returns the same number for
    # two strings with the same bytes in memory, such as "ab" and "\u6261".
    return hash(name.encode()) if isinstance(name, str) else ~hash(name)


def _contains(bucket: bytearray, data: bytes) -> bool:
    """Whether a bucket contains a hash. A match across two adjacent hashes does not count."""
    place = bucket.find(data)
    while place > 0 and place % len(data):
        place = bucket.find(data, place + 1)
    return place >= 0
