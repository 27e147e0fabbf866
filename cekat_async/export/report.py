"""What an export has done so far, and what it has done in the end."""

import msgspec

from cekat_async import RateLimit

__all__ = ["ExportProgress", "ExportReport"]


class ExportProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an export has come.

    Attributes:
        conversations: Records written, odd ones included.
        pages: Pages written.
        requests: Requests that the client sent meanwhile, retries included.
        retries: How many of the requests were retries.
        seconds: Time since the export began.
        odd_records: Records that do not have the documented shape. They are written like any
            other, but a reader may stumble over them.
        rate_limit: The pace the client keeps, or ``None``.
    """

    conversations: int = 0
    pages: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    odd_records: int = 0
    rate_limit: RateLimit | None = None

    @property
    def per_minute(self) -> float:
        """Conversations a minute, on average since the export began."""
        return 60 * self.conversations / self.seconds if self.seconds else 0.0

    @property
    def quota_share(self) -> float | None:
        """Which share of the requests that the pace allows in this time were sent, from 0 to 1.

        The first few go out at once, ahead of the pace; they do not make it more than 1.
        """
        if self.rate_limit is None:
            return None
        allowed = self.rate_limit.requests * self.seconds / self.rate_limit.per
        return self.requests / max(allowed, self.requests, 1)


class ExportReport(ExportProgress, frozen=True, kw_only=True):
    """What a finished export has done.

    Attributes:
        target: Where the conversations are now.
    """

    target: str = ""
