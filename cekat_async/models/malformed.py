"""A record that cannot be read."""

# No postponed annotations: msgspec reads them when a struct is made.

import msgspec

__all__ = ["MalformedRecord"]


class MalformedRecord(msgspec.Struct, frozen=True):
    """A malformed record: it is not JSON, is not an object, or has no readable id.

    Attributes:
        index: Its position in the page, counted from 0.
        id: Its id, if it has a readable one.
        field: Where it is malformed, as ``$.id``; ``$`` stands for the whole record.
        reason: What is wrong there.
        raw: The record's bytes as received.
    """

    index: int
    id: str | None
    field: str
    reason: str
    raw: bytes
