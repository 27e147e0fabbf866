"""Integer hashes. The sandbox has no other randomness, so its seed determines everything."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def hash_number(key: int, number: int) -> int:
    """Return a 64-bit hash of ``number`` and ``key``, with the finalizer of splitmix64."""
    z = (key + number * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def derive_key(seed: int, purpose: str) -> int:
    """Return a key for ``purpose``, so that two purposes of one seed get independent numbers."""
    key = hash_number(seed & _MASK, len(purpose))
    for letter in purpose.encode():
        key = hash_number(key, letter)
    return key


def hash_fraction(key: int, number: int) -> float:
    """Return a hash of ``number`` and ``key`` as a fraction in ``[0, 1)``."""
    return (hash_number(key, number) >> 11) / (1 << 53)
