"""The manifest next to an exported target: what is in the target, and how it was fetched."""

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
    """Which conversations an export has.

    Attributes:
        inbox_ids: The requested inboxes. Empty for all conversations of the account.
        by_inbox: Whether each inbox of the account was walked separately.
        stage_status: The requested status. ``None`` for any.
        since: The earliest last activity, as it was given: a duration before the export began
            (``3d``), or a date or time (``2026-11-01``). ``None`` for no limit.
        until: The latest last activity, in the same forms.
        since_time: The moment that ``since`` stands for. ``None`` before the export begins.
        until_time: The moment that ``until`` stands for. ``None`` before the export begins.
    """

    # Version 0.1 always writes these three. msgspec does not omit a default that a function makes.
    inbox_ids: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    by_inbox: bool = msgspec.field(default_factory=lambda: False)
    stage_status: str | None = msgspec.field(default_factory=lambda: None)
    since: str | None = None
    until: str | None = None
    since_time: datetime | None = None
    until_time: datetime | None = None

    def resolve(self, began: datetime) -> "Filters":
        """Return the filters of an export that began at a moment.

        Args:
            began: The moment, with a time zone.

        Raises:
            ConfigurationError: ``since`` or ``until`` is wrong, or ``since`` is not before
                ``until``.

        Examples:
            >>> from datetime import UTC, datetime
            >>> Filters(since="1d").resolve(datetime(2026, 11, 2, tzinfo=UTC)).since_time.day
            1
        """
        since = None if self.since is None else parse_bound(self.since)
        until = None if self.until is None else parse_bound(self.until)
        resolved = TimeRange(since, until).resolve(began)
        return msgspec.structs.replace(self, since_time=resolved.since, until_time=resolved.until)


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One independent walk of an export.

    Attributes:
        inbox_id: Its inbox. ``None`` for the listing of all conversations.
        records: How many records it fetched, repeated ones included.
        pages: How many pages it fetched.
        position: The resume position of its walk. The next incremental export starts there.
        error: The permanent error that ended it. ``None`` if it is complete.
        carried: How many conversations of this inbox the target keeps from an earlier export,
            because the walk failed. Always 0 in a database, where rows stay in place.
        as_of: For an inbox that failed, when the last export began in which it was complete (UTC).
            It stays the same while the inbox fails in later exports. ``None`` if there was none.
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
        runs: How often the export was run: 1, and 1 more each time it was resumed.
        pages: How many pages were fetched.
        fetched: How many records were fetched. A conversation that was fetched again counts again.
        malformed_records: How many records are not JSON, not an object, or without a readable id.
        unknown_fields: The names of fields that this version does not know, and how many records
            had each.
        mistyped_fields: The names of fields of another type than documented, and how many records
            had each. The column ``extra`` of a table has the original values.
        requests: How many requests were sent, retries included.
        retries: How many of the requests were retries.
        refused: How many of the requests the server refused because of the quota (429).
        seconds: How many seconds it took.
        waited: During how many of these seconds all requests waited for the quota.
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
        """Return the sum of two counts."""
        return Counts(
            **{
                name: _add(getattr(self, name), getattr(other, name))
                for name in Counts.__struct_fields__
            }
        )

    def without_requests(self) -> "Counts":
        """Return the counts of runs, pages and records, with 0 for requests and times.

        Examples:
            >>> Counts(pages=3, requests=4).without_requests() == Counts(pages=3)
            True
        """
        return msgspec.structs.replace(
            self, requests=0, retries=0, refused=0, seconds=0.0, waited=0.0
        )


def _add(one: dict[str, int] | float, other: Any) -> Any:
    return dict(Counter[str](one) + Counter[str](other)) if isinstance(one, dict) else one + other


class Manifest(Counts, frozen=True, kw_only=True):
    """The description of a target: what is in it, from when, and how it was fetched.

    It also has the :class:`Counts` of all runs of the export.

    Attributes:
        format: The version of the manifest's format.
        version: The version of the package that wrote it.
        account: The name of the account: the one that was given, or the fingerprint of its key.
        key_fingerprint: The fingerprint of the key: the host and 48 bits of a hash. ``None`` in a
            manifest of version 0.1.
        business_id: The business that the account's inboxes belong to. It stays the same when the
            key changes. Empty if the API does not report it. ``None`` if it was not requested.
        target: The target that has the conversations.
        filters: Which conversations of the account were exported.
        incremental: Whether the export fetched only what had changed, and merged it into the
            target.
        complete: Whether every partition is complete. A partition that is not has an ``error``.
        began: When the first request was sent (UTC), in the first run.
        ended: When the last record was fetched (UTC).
        conversations: How many conversations are in the target. For a database, how many this
            export wrote, because the table may have others.
        repeats: How many of the fetched records a later version of the same conversation replaced.
        partitions: The walks of the export.
        checksum: ``sha256:`` and a hexadecimal digest. For a folder it is the digest of the list of
            its files, as ``sha256sum`` prints it. ``None`` for a database.
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
        """Return the manifest as indented JSON.

        Examples:
            >>> report = await export_conversations(cekat, "conversations.jsonl")
            >>> Manifest.from_json(report.manifest.to_json()) == report.manifest
            True
        """
        return (
            msgspec.json.format(msgspec.json.encode(self, enc_hook=_encode_position), indent=2)
            + b"\n"
        )

    @staticmethod
    def from_json(text: bytes | str) -> "Manifest":
        """Return the manifest that :meth:`to_json` has written.

        Args:
            text: The JSON.

        Raises:
            msgspec.DecodeError: ``text`` is something else.

        Examples:
            >>> report = await export_conversations(cekat, "conversations.jsonl")
            >>> with open("conversations.jsonl.manifest.json") as file:
            ...     manifest = Manifest.from_json(file.read())
            >>> manifest.conversations
            250
        """
        return msgspec.json.decode(text, type=Manifest, dec_hook=_decode_position)


def _encode_position(position: Position) -> msgspec.Raw:
    return msgspec.Raw(position.to_bytes())


def _decode_position(_: type, found: Any) -> Position:
    try:
        return Position.from_bytes(msgspec.json.encode(found))
    except DecodeError as error:
        raise ValueError(str(error)) from None  # msgspec adds where in the manifest it is
