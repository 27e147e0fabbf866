"""Gauges for the quota of a client, and for how much of it is used.

OpenTelemetry reads metrics in another thread, but a limiter belongs to its event loop. So the
gauges report a copy of the limiter's state, which is made after each attempt.
"""

from __future__ import annotations

import time
from threading import get_ident
from typing import TYPE_CHECKING
from weakref import ref

from opentelemetry.metrics import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import Meter

    from cekat_async import CekatClient, Limiter, LimiterSnapshot

__all__ = ["QuotaGauges"]


class QuotaGauges:
    """The gauges for the quotas of the observed clients."""

    def __init__(self, meter: Meter) -> None:
        self._observed: list[_Quota] = []
        gauge = meter.create_observable_gauge
        gauge(
            "cekat.quota.limit",
            [lambda _: self._observe(_Quota.get_limit)],
            "{request}",
            "Requests that the client may send in a window.",
        )
        gauge(
            "cekat.quota.usage",
            [lambda _: self._observe(_Quota.get_usage)],
            "{request}",
            "Requests of the client in the window that ends now.",
        )
        gauge(
            "cekat.quota.utilization",
            [lambda _: self._observe(_Quota.get_utilization)],
            "1",
            "The part of the limit that is in use.",
        )

    def observe(self, client: CekatClient) -> None:
        """Report the quota of a client until one window after the client was deleted."""
        self._observed = [one for one in self._observed if one.is_alive]
        self._observed.append(_Quota(client))

    def refresh(self) -> None:
        """Copy the states of all limiters that belong to this thread."""
        for one in self._observed:
            one.refresh()

    def _observe(self, get: Callable[[_Quota], float | None]) -> Iterator[Observation]:
        for one in self._observed:
            value = get(one)
            if value is not None:
                yield Observation(value, {"cekat.account": one.account})


class _Quota:
    """The quota of one client, as of its last request."""

    def __init__(self, client: CekatClient) -> None:
        self.account = client.account
        self._limiter: ref[Limiter] = ref(client.limiter)
        self._thread = get_ident()
        self._snapshot: LimiterSnapshot | None = None
        self._at = 0.0

    @property
    def is_alive(self) -> bool:
        return self._limiter() is not None

    def refresh(self) -> None:
        limiter = self._limiter()
        if limiter is not None and get_ident() == self._thread:
            self._snapshot, self._at = limiter.snapshot(), time.monotonic()

    def get_limit(self) -> int | None:
        snapshot = self._get_snapshot()
        return None if snapshot is None else snapshot.limit

    def get_usage(self) -> int | None:
        snapshot = self._get_snapshot()
        if snapshot is None:
            return None
        return 0 if self._is_idle(snapshot) else snapshot.used

    def get_utilization(self) -> float | None:
        limit, usage = self.get_limit(), self.get_usage()
        return None if limit is None or usage is None else min(1.0, usage / limit)

    def _get_snapshot(self) -> LimiterSnapshot | None:
        """Return the last snapshot, or ``None`` if nothing is to be reported."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.limit is None:
            return None
        # Report for one more window, because the last report may be sent after the client was
        # deleted.
        return None if self._is_idle(snapshot) and not self.is_alive else snapshot

    def _is_idle(self, snapshot: LimiterSnapshot) -> bool:
        """Return whether nothing was sent for a whole window."""
        return time.monotonic() - self._at >= snapshot.per
