"""What an export reports: its progress while it runs, and its result."""

# No postponed annotations: msgspec reads them when a struct is made.

import logging
from typing import Any

import msgspec

from cekat_async.export.manifest import Counts, Manifest
from cekat_async.models.forms.html_table import build_fields_table

__all__ = ["ExportProgress", "ExportReport", "build_report"]

_log = logging.getLogger("cekat_async")


class ExportProgress(Counts, frozen=True, kw_only=True):
    """The progress of an export. The records and pages that it counts are durable.

    It also has :class:`Counts`: those of records and pages are of all runs of the export, and those
    of requests and time only of this run. If other clients share the limiter, ``refused`` includes
    their requests.

    Attributes:
        conversations: Records that are in the checkpoint. A conversation that was fetched again,
            because it moved or because two segments of the listing overlap, counts again. In an
            :class:`ExportReport` each conversation counts once.
        resumed: How many of the records were fetched by earlier runs.
        expected: About how many conversations there are: the number in the last export with the
            same filters. ``None`` if there was none.
        limit: Requests in any ``per`` seconds that the client believes to have now; ``None``
            without a pace.
        per: Those seconds; 0 without a pace.
        earned: Requests that the limit would have let out since this run began. If the limit
            changed, each value counts for the time during which it was in force.
        compared: Old conversations of the target that have been compared with the fetched ones. An
            export that keeps some of them does this before it writes the first one.
        published: Conversations that have been written to the target; ``None`` while they are
            still being fetched.
        to_publish: How many are to be written; ``None`` until that is known. When all have been
            written, the target may still have to be checked and synced to the disk.
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
        """Records a minute, on average in this run, those that were fetched again included."""
        return 60 * (self.fetched - self.resumed) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at this speed; ``None`` if that cannot be estimated."""
        if self.expected is None or not self.per_minute:
            return None
        return 60 * max(0, self.expected - self.conversations) / self.per_minute

    @property
    def quota_share(self) -> float | None:
        """Which share of the requests that the limit would have let out were sent, from 0 to 1.

        While the server says that there is enough left, requests run ahead of the pace; they do
        not make it more than 1.
        """
        if self.limit is None:
            return None
        return self.requests / max(self.earned, self.requests, 1)


class ExportReport(ExportProgress, frozen=True, kw_only=True):
    """The result of a finished export.

    ``conversations`` is how many different ones it fetched.

    Attributes:
        target: Where the conversations are now.
        manifest: Everything that is known of the target, over all runs of the export.
    """

    target: str
    manifest: Manifest

    @property
    def is_complete(self) -> bool:
        """Whether every partition is; ``manifest.partitions`` shows which is not, and why."""
        return self.manifest.complete

    def _repr_html_(self) -> str:
        state = "complete" if self.is_complete else "partial"
        return build_fields_table(f"Export to {self.target}, {state}", self._summarize())

    def _summarize(self) -> dict[str, Any]:
        """Return what a notebook shows, by its label."""
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
    """Return the report of an export that has ended like this, and log its counts."""
    _log.debug(
        "%d pages brought %d records, %d of them again, in %d requests",
        *(manifest.pages, manifest.fetched, manifest.repeats, manifest.requests),
    )
    facts = msgspec.structs.asdict(progress)
    facts["conversations"] = manifest.fetched - manifest.repeats
    return ExportReport(target=target, manifest=manifest, **facts)
