"""The progress of an export, and its result."""

# Annotations are not postponed, because msgspec reads them when it creates a struct class.

import logging
from typing import Any

import msgspec

from cekat_async.export.manifest import Counts, Manifest
from cekat_async.models.forms.html_table import build_fields_table

__all__ = ["ExportProgress", "ExportReport", "build_report"]

_log = logging.getLogger("cekat_async")


class ExportProgress(Counts, frozen=True, kw_only=True):
    """The progress of an export. It counts only records and pages that are on the disk.

    It also has the fields of :class:`Counts`. Records and pages are counted over all runs of the
    export. Requests and times are counted in this run only. If other clients share the limiter,
    ``refused`` includes their requests.

    Attributes:
        conversations: The number of records in the checkpoint. A conversation that was fetched
            twice, because it moved or because two segments overlap, counts twice. In an
            :class:`ExportReport`, each conversation counts once.
        resumed: The number of these records that earlier runs fetched.
        expected: The approximate number of conversations to fetch: the number in the last export
            with the same filters. ``None`` if there was no such export.
        limit: The present limit of the client: the maximum number of requests in any ``per``
            seconds. ``None`` without a rate limit.
        per: The length of the window for ``limit``, in seconds. 0 without a rate limit.
        earned: The number of requests that the limit has allowed since this run began. If the limit
            changed, each limit counts for the time during which it applied.
        compared: The number of old conversations in the target that have been compared with the
            fetched conversations. An export that keeps old conversations compares them before it
            writes.
        published: The number of conversations that have been written to the target. ``None`` while
            the export is still fetching.
        to_publish: The number of conversations to write to the target. ``None`` until it is known.
            After writing all of them, the export may still have to check the target and sync it to
            the disk.
    """

    conversations: int = 0
    resumed: int = 0
    expected: int | None = None
    limit: int | None = None
    per: float = 0.0
    earned: float = 0.0
    compared: int = 0
    published: int | None = None
    to_publish: int | None = None

    @property
    def per_minute(self) -> float:
        """The average number of records per minute in this run, including repeated records."""
        return 60 * (self.fetched - self.resumed) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The estimated number of seconds until all records are fetched. ``None`` if unknown."""
        if self.expected is None or not self.per_minute:
            return None
        return 60 * max(0, self.expected - self.conversations) / self.per_minute

    @property
    def quota_share(self) -> float | None:
        """The fraction of the allowed requests that this run has sent, from 0 to 1.

        ``None`` without a rate limit. A client may send faster than its pace if the server reports
        that enough of the quota is left, but the fraction never exceeds 1.
        """
        if self.limit is None:
            return None
        return self.requests / max(self.earned, self.requests, 1)


class ExportReport(ExportProgress, frozen=True, kw_only=True):
    """The result of a finished export.

    Here, ``conversations`` is the number of different conversations that the export fetched.

    Attributes:
        target: The name of the target that contains the conversations.
        manifest: The description of the target. Its counts are those of all runs of the export.
    """

    target: str
    manifest: Manifest

    @property
    def is_complete(self) -> bool:
        """Whether every partition is complete. ``manifest.partitions`` has the errors."""
        return self.manifest.complete

    def _repr_html_(self) -> str:
        state = "complete" if self.is_complete else "partial"
        return build_fields_table(f"Export to {self.target}, {state}", self._summarize())

    def _summarize(self) -> dict[str, Any]:
        """Return the values that a notebook shows, by label."""
        failed = [one for one in self.manifest.partitions if one.error is not None]
        return {
            "conversations": self.conversations,
            "in the target": self.manifest.conversations,
            "account": self.manifest.account,
            "began": self.manifest.began,
            "ended": self.manifest.ended,
            "seconds": round(self.seconds, 1),
            "seconds waited for the quota": round(self.waited, 1),
            "pages": self.pages,
            "requests": self.requests,
            "retries": self.retries,
            "refused (429)": self.refused,
            "malformed records": self.malformed_records,
            "unknown fields": self.unknown_fields,
            "mistyped fields": self.mistyped_fields,
            "partitions": len(self.manifest.partitions),
            "failed partitions": len(failed),
        } | {f"inbox {one.inbox_id} failed": one.error for one in failed}


def build_report(progress: ExportProgress, manifest: Manifest, target: str) -> ExportReport:
    """Return the report of a finished export, and log its counts."""
    _log.debug(
        "fetched %d pages with %d records, %d of them repeated, in %d requests",
        *(manifest.pages, manifest.fetched, manifest.repeats, manifest.requests),
    )
    facts = msgspec.structs.asdict(progress)
    facts["conversations"] = manifest.fetched - manifest.repeats
    return ExportReport(target=target, manifest=manifest, **facts)
