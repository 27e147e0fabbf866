"""The manifest of an export: the content of its target, and how that was fetched."""

# Annotations are not postponed, because msgspec reads them when it creates a struct class.

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from cekat_async import DecodeError, Position
from cekat_async.resources.time_range import TimeRange, parse_bound

__all__ = ["FORMAT", "Counts", "Filters", "Manifest", "Partition"]

FORMAT = 1


class Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The filters that select the conversations of an export.

    Attributes:
        inbox_ids: The ids of the requested inboxes. Empty for all conversations of the account.
        by_inbox: Whether each inbox of the account was walked separately.
        stage_status: The requested status. ``None`` for any status.
        since: The lower limit of the last activity, as the caller wrote it: a duration before the
            export began (``3d``), or a date or time (``2026-11-01``). ``None`` for no limit.
        until: The upper limit of the last activity, in the same forms as ``since``.
        since_time: The moment that ``since`` means. ``None`` before the export begins.
        until_time: The moment that ``until`` means. ``None`` before the export begins.
    """

    # Version 0.1 always writes these three fields. msgspec never omits a default from a factory, so
    # this version writes them, too.
    inbox_ids: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    by_inbox: bool = msgspec.field(default_factory=lambda: False)
    stage_status: str | None = msgspec.field(default_factory=lambda: None)
    since: str | None = None
    until: str | None = None
    since_time: datetime | None = None
    until_time: datetime | None = None

    def resolve(self, began: datetime) -> "Filters":
        """Return the filters with ``since`` and ``until`` as absolute times for this export.

        Args:
            began: The time at which the export began, with a time zone.

        Raises:
            ConfigurationError: ``since`` or ``until`` is invalid, or ``since`` is not before
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
        inbox_id: The id of its inbox. ``None`` for the listing of all conversations.
        records: The number of records that it fetched, including repeated ones.
        pages: The number of pages that it fetched.
        position: The resume position of its walk. The next incremental export starts there.
        error: The permanent error that ended the walk. ``None`` if the partition is complete.
        carried: The number of conversations of this inbox that the target keeps from an earlier
            export, because the walk failed. Always 0 for a database, where rows stay in place.
        as_of: For an inbox that failed: the start (UTC) of the last export that contained the whole
            inbox. It stays the same if the inbox fails again in later exports. ``None`` if there
            was no such export.
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
        runs: The number of runs: 1, and 1 more for each time that the export was resumed.
        pages: The number of pages that were fetched.
        fetched: The number of records that were fetched. A conversation that was fetched twice
            counts twice.
        malformed_records: The number of records that are not JSON, are not an object, or have no
            readable id.
        unknown_fields: The number of records with each field that this version does not know, by
            field name.
        mistyped_fields: The number of records in which a field did not have the documented type, by
            field name. The column ``extra`` of a table contains the original values.
        requests: The number of requests that were sent, including retries.
        retries: The number of these requests that were retries.
        refused: The number of these requests that the server refused because of the quota (429).
        seconds: The duration in seconds.
        waited: The part of ``seconds`` during which all requests waited for the quota.
    """

    runs: int = 0
    pages: int = 0
    fetched: int = 0
    # Version 0.1 wrote this field as ``odd_records``, so the name in JSON stays the same.
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
        """Return the same counts of runs, pages and records, but with 0 for requests and times.

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
    """The description of a target: its content, its age, and how it was fetched.

    A manifest also has the fields of :class:`Counts`, for all runs of the export together.

    Attributes:
        format: The version of the manifest's format.
        version: The version of the package that wrote the manifest.
        account: The name of the account: the name that the caller gave, or the fingerprint of the
            key.
        key_fingerprint: The fingerprint of the key: the host and 48 bits of a hash. ``None`` in a
            manifest of version 0.1.
        business_id: The business that the account's inboxes belong to. The business stays the same
            when the key changes. Empty if the API does not report it. ``None`` if it is unknown.
        target: The name of the target that contains the conversations.
        filters: The filters that selected the conversations.
        incremental: Whether the export fetched only what had changed, and merged it into the
            target.
        complete: Whether every partition is complete. An incomplete partition has an ``error``.
        began: The time (UTC) at which the first run began.
        ended: The time (UTC) at which the last record was fetched.
        conversations: The number of conversations in the target. For a database, it is the number
            that this export wrote, because the table may contain others.
        repeats: The number of fetched records that were replaced with a later version of the same
            conversation.
        partitions: The walks of the export.
        checksum: ``sha256:`` and a hexadecimal digest. For a folder, it is the digest of the list
            of its files in the format of ``sha256sum``. ``None`` for a database.
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
        """Return the manifest in a JSON text that :meth:`to_json` returned.

        Args:
            text: The JSON text.

        Raises:
            msgspec.DecodeError: ``text`` is not the JSON of a manifest.

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
        raise ValueError(str(error)) from None  # msgspec adds the place in the manifest
