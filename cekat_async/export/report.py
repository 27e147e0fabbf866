"""What an export has done so far, and what it has done in the end."""

import msgspec

__all__ = ["ExportProgress", "ExportReport"]


class ExportProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an export has come.

    Attributes:
        conversations: Records written, odd ones included.
        pages: Pages written.
        requests: Requests that the client sent meanwhile, retries included.
        retries: How many of the requests were retries.
        refused: How many of the requests the server refused because of its quota (429). If other
            clients share the limiter, theirs are among them.
        seconds: Time since the export began.
        odd_records: Records that do not have the documented shape. They are written like any
            other, but a reader may stumble over them.
        limit: Requests in any ``per`` seconds that the client believes to have now; ``None``
            without a pace.
        per: Those seconds; 0 without a pace.
        earned: Requests that the limit would have let out since the export began. The limit may
            have changed meanwhile: each counts for the time that it held.
    """

    conversations: int = 0
    pages: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    seconds: float = 0.0
    odd_records: int = 0
    limit: int | None = None
    per: float = 0.0
    earned: float = 0.0

    @property
    def per_minute(self) -> float:
        """Conversations a minute, on average since the export began."""
        return 60 * self.conversations / self.seconds if self.seconds else 0.0

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

    Attributes:
        target: Where the conversations are now.
    """

    target: str = ""
