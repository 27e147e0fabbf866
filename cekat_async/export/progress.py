"""The progress of an export, and its report at the end."""

# No postponed annotations: msgspec reads them when a struct is made.

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from cekat_async.export.manifest import Counts, Manifest

if TYPE_CHECKING:
    from cekat_async import CekatClient, ConversationPage

__all__ = ["ExportProgress", "ExportReport", "ProgressTracker"]

_SECONDS_BETWEEN_LOOKS = 0.25


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
        published: Conversations that have been written to the target; ``None`` while they are
            still being fetched.
        to_publish: How many are to be written; ``None`` until that is known.
    """

    conversations: int = 0
    resumed: int = 0
    expected: int | None = None
    limit: int | None = None
    per: float = 0.0
    earned: float = 0.0
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


class ProgressTracker:
    """Counts what an export does.

    Args:
        client: Its requests are counted from now on.

    Attributes:
        published: Conversations that the sink has been given; ``None`` before that.
        to_publish: How many it is given in all; ``None`` until that is known.
    """

    def __init__(self, client: "CekatClient") -> None:
        self._client = client
        self._earlier = Counts()
        self._pages = Counts(runs=1)
        self._expected: int | None = None
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._requests_before = client.traffic.requests
        self._retries_before = client.traffic.retries
        self._limiter_before = client.limiter.snapshot()
        self._waited = 0.0
        self.published: int | None = None
        self.to_publish: int | None = None

    def resume(self, earlier: Counts, expected: int | None) -> None:
        """Add to the counts of earlier runs. ``expected`` is the estimated total."""
        self._earlier, self._expected = earlier, expected

    def count(self, page: "ConversationPage") -> None:
        """Count a page that is about to be stored."""
        self._pages += Counts(
            pages=1,
            fetched=len(page.items) + len(page.malformed_records),
            malformed_records=len(page.malformed_records),
            unknown_fields=page.unknown_fields,
            mistyped_fields=page.mistyped_fields,
        )

    @asynccontextmanager
    async def watch_limiter(self) -> AsyncGenerator[None, None]:
        """Measure in the background how long the limiter makes all requests wait."""
        task = asyncio.create_task(self._watch_limiter())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch_limiter(self) -> None:
        then = self._clock()
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            limiter, now = self._client.limiter.snapshot(), self._clock()
            if limiter.waiting and not limiter.in_flight:
                self._waited += now - then
            then = now

    def totals(self) -> Counts:
        """Return the counts of all runs."""
        return self._earlier + self._this_run()

    def _this_run(self) -> Counts:
        return self._pages + Counts(
            requests=self._client.traffic.requests - self._requests_before,
            retries=self._client.traffic.retries - self._retries_before,
            refused=self._client.limiter.snapshot().refused - self._limiter_before.refused,
            seconds=self._clock() - self._began,
            waited=self._waited,
        )

    def progress(self) -> ExportProgress:
        """Return the progress of this run."""
        limiter, before = self._client.limiter.snapshot(), self._limiter_before
        counts = self._earlier.without_requests() + self._this_run()
        return ExportProgress(
            **msgspec.structs.asdict(counts),
            conversations=counts.fetched,
            resumed=self._earlier.fetched,
            expected=self._expected,
            limit=limiter.limit,
            per=limiter.per,
            # Without a pace both are infinite, and their difference is no number.
            earned=0.0 if limiter.limit is None else limiter.earned - before.earned,
            published=self.published,
            to_publish=self.to_publish,
        )
