"""The progress of an export, and its result."""

# No postponed annotations: msgspec reads them when a struct is made.

import logging
from typing import Any

import msgspec

from cekat_async.export.manifest import Counts, Manifest
from cekat_async.models.forms.html_table import build_fields_table

__all__ = ["ExportProgress", "ExportReport", "build_report"]

_log = logging.getLogger("cekat_async")


class ExportProgress(Counts, frozen=True, kw_only=True):
    """The progress of an export. The records and pages that it counts are on the disk.

    It also has :class:`Counts`. Records and pages are those of all runs of the export. Requests and
    times are those of this run only. If other clients share the limiter, ``refused`` includes their
    requests.

    Attributes:
        conversations: How many records are in the checkpoint. A conversation that was fetched
            again, because it moved or because two segments overlap, counts again. In an
            :class:`ExportReport` each conversation counts once.
        resumed: How many of the records earlier runs have fetched.
        expected: About how many conversations there are: the number in the last export with the
            same filters. ``None`` if there was none.
        limit: The present limit of the client: the most requests in any ``per`` seconds. ``None``
            without a rate limit.
        per: The length of that window in seconds. 0 without a rate limit.
        earned: How many requests the limit would have allowed since this run began. If the limit
            changed, each value counts for the time during which it applied.
        compared: How many old conversations of the target have been compared with the fetched
            ones. An export that keeps old conversations does this before it writes.
        published: How many conversations have been written to the target. ``None`` while they are
            still being fetched.
        to_publish: How many conversations will be written. ``None`` until that is known. When all
            are written, the export may still have to check the target and sync it to the disk.
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
        """The average number of records per minute in this run, repeated records included."""
        return 60 * (self.fetched - self.resumed) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The estimated seconds until all is fetched. ``None`` if they cannot be estimated."""
        if self.expected is None or not self.per_minute:
            return None
        return 60 * max(0, self.expected - self.conversations) / self.per_minute

    @property
    def quota_share(self) -> float | None:
        """The fraction of the allowed requests that were sent, from 0 to 1.

        ``None`` without a rate limit. It stays 1 if the client sends faster than its pace because
        the server reports that enough quota is left.
        """
        if self.limit is None:
            return None
        return self.requests / max(self.earned, self.requests, 1)


class ExportReport(ExportProgress, frozen=True, kw_only=True):
    """The result of a finished export.

    ``conversations`` is the number of different conversations that it fetched.

    Attributes:
        target: The target that has the conversations.
        manifest: The description of the target, over all runs of the export.
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
