"""What an export has done so far, and what it has done in the end."""

import msgspec

from cekat_async.export.manifest import Manifest

__all__ = ["ExportProgress", "ExportReport"]


class ExportProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an export has come. What it counts is durable.

    Attributes:
        conversations: Records that are in the checkpoint. A conversation that was fetched again,
            because it moved or because two parts of the listing overlap, counts again. In an
            :class:`ExportReport` each conversation counts once.
        pages: Pages that are in it.
        resumed: How many of the records were fetched by earlier runs.
        expected: About how many conversations there are: the number in the last export with the
            same filters. ``None`` if there was none.
        requests: Requests that the client sent in this run, retries included.
        retries: How many of the requests were retries.
        refused: How many of the requests the server refused because of its quota (429). If other
            clients share the limiter, theirs are among them.
        seconds: Time since this run began.
        waited: For how many of the seconds all requests waited for the quota.
        malformed_records: Records that do not have the documented shape. They are exported like any
            other, but a reader may stumble over them.
        limit: Requests in any ``per`` seconds that the client believes to have now; ``None``
            without a pace.
        per: Those seconds; 0 without a pace.
        earned: Requests that the limit would have let out since this run began. The limit may
            have changed meanwhile: each counts for the time that it held.
        published: Conversations that have been written to the target; ``None`` while they are
            still being fetched.
        to_publish: How many are to be written; ``None`` until that is known.
    """

    conversations: int = 0
    pages: int = 0
    resumed: int = 0
    expected: int | None = None
    requests: int = 0
    retries: int = 0
    refused: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    malformed_records: int = 0
    limit: int | None = None
    per: float = 0.0
    earned: float = 0.0
    published: int | None = None
    to_publish: int | None = None

    @property
    def per_minute(self) -> float:
        """Records a minute, on average since this run began; see ``conversations``."""
        return 60 * (self.conversations - self.resumed) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at this speed, as far as can be told; else ``None``."""
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
    """What a finished export has done.

    ``conversations`` is how many different ones it has brought.

    Attributes:
        target: Where the conversations are now.
        manifest: All there is to know of the target, over all runs of the export.
    """

    target: str
    manifest: Manifest

    @property
    def per_minute(self) -> float:
        """Records a minute, on average in this run, those that were fetched again included."""
        return 60 * (self.manifest.fetched - self.resumed) / self.seconds if self.seconds else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every partition is; ``manifest.partitions`` says which is not, and why."""
        return self.manifest.complete
