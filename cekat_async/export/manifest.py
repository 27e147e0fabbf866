"""The manifest next to an exported target: its content, and how that was fetched."""

# No postponed annotations: msgspec reads them when a struct is made.

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from cekat_async import DecodeError, Position
from cekat_async.resources.time_range import TimeRange, parse_bound

__all__ = ["FORMAT", "Counts", "Filters", "Manifest", "Partition"]

FORMAT = 1


class Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which conversations an export is of.

    Attributes:
        inbox_ids: The inboxes that were named; empty for all conversations of the account.
        by_inbox: Whether each inbox of the account was walked by itself.
        stage_status: The status that was asked for; ``None`` for any.
        since: The first moment of last activity, as it was written: a duration before the export
            began (``3d``), or a date or time (``2026-11-01``); ``None`` for no bound.
        until: The last moment, in the same form.
        since_time: The moment that ``since`` was when the export began; ``None`` until then.
        until_time: The moment that ``until`` was.
    """

    # JSON always has these three, as in version 0.1: a default from a function is not omitted.
    inbox_ids: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    by_inbox: bool = msgspec.field(default_factory=lambda: False)
    stage_status: str | None = msgspec.field(default_factory=lambda: None)
    since: str | None = None
    until: str | None = None
    since_time: datetime | None = None
    until_time: datetime | None = None

    def resolve(self, began: datetime) -> "Filters":
        """Return the filters of an export that began at this moment.

        Raises:
            ConfigurationError: ``since`` or ``until`` is wrong, or they contradict each other.
        """
        since = None if self.since is None else parse_bound(self.since)
        until = None if self.until is None else parse_bound(self.until)
        resolved = TimeRange(since, until).resolve(began)
        return msgspec.structs.replace(self, since_time=resolved.since, until_time=resolved.until)


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One independent walk of an export.

    Attributes:
        inbox_id: Its inbox; ``None`` for the listing of all conversations.
        records: Records that it fetched, repeated ones included.
        pages: Pages that it fetched.
        position: The resume position of its walk; the next incremental export starts from it.
        error: The permanent error that ended it; ``None`` if it is complete.
        carried: How many conversations of this inbox the target keeps from an earlier export,
            because the walk failed. Always 0 in a database, where rows stay in place.
        as_of: The age of those: when the export began that fetched them (UTC). If they were kept
            several times, it is the first of these exports. ``None`` if there are none.
    """

    inbox_id: str | None = None
    records: int = 0
    pages: int = 0
    position: Position | None = None
    error: str | None = None
    carried: int = 0
    as_of: datetime | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one run of an export, or of all its runs together.

    Attributes:
        runs: Runs: one more each time the export was resumed.
        pages: Pages that were fetched.
        fetched: Records that were fetched. A conversation that was fetched again counts again.
        malformed_records: Malformed records: not JSON, not an object, or without a readable id.
        unknown_fields: The names of fields that this version does not know, and how many records
            had each.
        mistyped_fields: The names of fields of another type than documented, and how many records
            had each. The column ``extra`` of a table has the original values.
        requests: Requests that were sent, retries included.
        retries: How many of the requests were retries.
        refused: How many of the requests were refused because of the quota (429).
        seconds: How long it took.
        waited: For how many of the seconds all requests waited for the quota.
    """

    runs: int = 0
    pages: int = 0
    fetched: int = 0
    # The key of version 0.1.
    malformed_records: int = msgspec.field(name="odd_records", default=0)
    unknown_fields: dict[str, int] = {}
    mistyped_fields: dict[str, int] = {}
    requests: int = 0
    retries: int = 0
    refused: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        """Return the sums of two."""
        return Counts(
            **{
                name: _add(getattr(self, name), getattr(other, name))
                for name in Counts.__struct_fields__
            }
        )

    def without_requests(self) -> "Counts":
        """Return only the counts of runs, pages and records, not those of requests and time."""
        return msgspec.structs.replace(
            self, requests=0, retries=0, refused=0, seconds=0.0, waited=0.0
        )


def _add(one: dict[str, int] | float, other: Any) -> Any:
    return dict(Counter[str](one) + Counter[str](other)) if isinstance(one, dict) else one + other


class Manifest(Counts, frozen=True, kw_only=True):
    """The content of a target: how much, of what, from when, and how it was fetched.

    It also has the :class:`Counts` of all runs of the export.

    Attributes:
        format: The version of this form.
        version: The version of the package that wrote it.
        account: Which account it is of, for a person: a name that was given, or the fingerprint of
            its key.
        key_fingerprint: The fingerprint of the key: the host, and 48 bits of a hash. ``None`` in a
            manifest of version 0.1.
        business_id: The business that the account's inboxes belong to. It stays the same when the
            key changes. Empty if the API does not say, ``None`` if it was not asked.
        target: Where the conversations are.
        filters: Which of the account's conversations.
        incremental: Whether only what had moved was fetched, and merged into what was there.
        complete: Whether every partition is. One that is not has an ``error``.
        began: When its first request went out (UTC), in the first of its runs.
        ended: When it had fetched its last record (UTC).
        conversations: Conversations in the target; in one that others write to as well (a
            database), those that this export brought.
        repeats: How many of the fetched records were replaced by a later version of the same
            conversation.
        partitions: The walks it is made of.
        checksum: ``sha256:`` and a hexadecimal digest: of the file, or, for a folder, of the list
            of its files that ``sha256sum`` prints; ``None`` for a database.
    """

    format: int = FORMAT
    version: str
    account: str
    key_fingerprint: str | None = None
    business_id: str | None = None
    target: str
    filters: Filters
    incremental: bool = False
    complete: bool = True
    began: datetime
    ended: datetime
    conversations: int = 0
    repeats: int = 0
    partitions: tuple[Partition, ...] = ()
    checksum: str | None = None

    def to_json(self) -> bytes:
        """Return it as JSON, for a file or a column."""
        return (
            msgspec.json.format(msgspec.json.encode(self, enc_hook=_encode_position), indent=2)
            + b"\n"
        )

    @staticmethod
    def from_json(text: bytes | str) -> "Manifest":
        """Return what :meth:`to_json` wrote.

        Raises:
            msgspec.DecodeError: It is something else.
        """
        return msgspec.json.decode(text, type=Manifest, dec_hook=_decode_position)


def _encode_position(position: Position) -> msgspec.Raw:
    return msgspec.Raw(position.to_bytes())


def _decode_position(_: type, found: Any) -> Position:
    try:
        return Position.from_bytes(msgspec.json.encode(found))
    except DecodeError as error:
        raise ValueError(str(error)) from None  # msgspec adds where in the manifest it is
