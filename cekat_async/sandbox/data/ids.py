"""Ids that look like random UUIDs, but can be decoded to the numbers of their conversations.

For a large account, a table from ids to numbers would take gigabytes. Decodable ids need no table.
"""

from __future__ import annotations

from cekat_async.sandbox.seeded_hash import derive_key, hash_number

_NODE = (1 << 48) - 1
_HALF = 24
_ODD = 0x5851F42D4C957F2D & _NODE
_INVERSE = pow(_ODD, -1, 1 << 48)
_TEXT_LENGTH = 36
_WORD = 0xFFFFFFFF
# The third group contains the version, 4. The fourth group begins with the two bits of the variant.
_UUID = "%08x-%04x-4%03x-%04x-%012x"
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class Ids:
    """The ids of one kind of thing.

    Args:
        seed: The seed of the sandbox.
        kind: The kind of thing that is numbered. Each kind has its own ids.
        tie: The number of consecutive conversations that share a timestamp. Among these, a higher
            number has a lower id, so that they are in listing order.
    """

    def __init__(self, seed: int, kind: str, *, tie: int = 1) -> None:
        self._key = derive_key(seed, "id:" + kind)
        self._mask = self._key & _NODE
        self._tie = tie
        self._width = (1 << 32) // tie

    def encode(self, number: int) -> str:
        """Return the id of ``number``."""
        bits = hash_number(self._key, number)
        step = self._tie - 1 - number % self._tie
        head = step * self._width + (bits & _WORD) % self._width
        node = _scramble(number ^ self._mask)
        middle = bits >> 16
        return _UUID % (head, middle >> 32, middle >> 16 & 0xFFF, middle & 0x3FFF | 0x8000, node)

    def decode(self, text: str) -> int | None:
        """Return the number that an id encodes, or ``None`` if it is not an id of this kind."""
        try:
            node = int(text[24:], 16) if len(text) == _TEXT_LENGTH else -1
        except ValueError:
            return None
        number = _unscramble(node & _NODE) ^ self._mask
        return number if text == self.encode(number) else None


def format_uuid(raw: bytes) -> str:
    """Format 16 bytes as a UUID of version 4. This sets the bits of the version and the variant."""
    text = raw.hex()
    variant = _VARIANTS[text[16]]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _scramble(value: int) -> int:
    value ^= value >> _HALF
    value = value * _ODD & _NODE
    return value ^ value >> _HALF


def _unscramble(value: int) -> int:
    value ^= value >> _HALF
    value = value * _INVERSE & _NODE
    return value ^ value >> _HALF
