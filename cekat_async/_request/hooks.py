"""Hooks: what a client reports about its requests, walks and pauses, and to whom.

An event never holds the key, a cursor, a body, a name, a phone number or a message.
"""

# Hooks of any type are checked, and isinstance does not tell what an iterable yields.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections.abc import Iterable
from inspect import iscoroutinefunction
from itertools import count
from typing import TYPE_CHECKING, Protocol

import msgspec

from cekat_async.errors import ConfigurationError
from cekat_async.pages import count_records

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "CallBegun",
    "CallFailed",
    "Hook",
    "HookEvent",
    "Hooks",
    "PageFetched",
    "PauseBegun",
    "ReplyReceived",
    "RequestFailed",
    "RequestSent",
    "RetryScheduled",
    "WalkBegun",
    "WalkEnded",
    "WalkReport",
    "next_number",
]

_log = logging.getLogger("cekat_async")


class HookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The base class of all events that a hook receives."""


class WalkBegun(HookEvent, frozen=True, kw_only=True):
    """A walk of a listing has begun: an ``async for``, or a method of the listing.

    Attributes:
        walk: A number that identifies the walk among those of all clients of the process.
        path: The path of the endpoint.
    """

    walk: int
    path: str


class WalkEnded(HookEvent, frozen=True, kw_only=True):
    """A walk has ended: at its last page, early, or with an error.

    Attributes:
        walk: As in :class:`WalkBegun`.
        pages: The pages that the caller received.
        records: The records on them, malformed ones included.
        error: The name of the class of the exception that ended it; ``None`` if none did.
    """

    walk: int
    pages: int
    records: int
    error: str | None = None


class CallBegun(HookEvent, frozen=True, kw_only=True):
    """A call has begun: one ``page()``, one ``get()``, or one page of a walk, with its retries.

    Attributes:
        call: A number that identifies the call among those of all clients of the process.
        walk: The walk that it belongs to; ``None`` for a call of its own.
        path: The path of the endpoint.
        inbox_id: The inbox that is asked for; ``None`` for all inboxes.
    """

    call: int
    walk: int | None
    path: str
    inbox_id: str | None = None


class RequestSent(HookEvent, frozen=True, kw_only=True):
    """An attempt of a call is sent to the server now.

    Attributes:
        call: As in :class:`CallBegun`.
        walk: As in :class:`CallBegun`.
        attempt: The number of the attempt, from 1.
        method: The HTTP method.
        url: Scheme, host, port and path, without the query.
        waited: The seconds that it has waited since the call began or the attempt before it
            failed, by reason: ``"concurrency"``, ``"quota"``, ``"pause"`` and ``"backoff"``. Time
            in which the server had asked for a pause counts as ``"pause"``, whatever else the call
            waited for. Waits of less than a millisecond are left out.
    """

    call: int
    walk: int | None
    attempt: int
    method: str
    url: str
    waited: dict[str, float]


class ReplyReceived(HookEvent, frozen=True, kw_only=True):
    """An attempt got a whole reply, whatever its status.

    Attributes:
        call: As in :class:`CallBegun`.
        walk: As in :class:`CallBegun`.
        attempt: The number of the attempt, from 1.
        status: The HTTP status.
        seconds: From sending to the end of the body.
        size: Bytes of the body that were read, unpacked.
    """

    call: int
    walk: int | None
    attempt: int
    status: int
    seconds: float
    size: int


class RequestFailed(HookEvent, frozen=True, kw_only=True):
    """An attempt that was sent got no whole reply, or was cancelled.

    Attributes:
        call: As in :class:`CallBegun`.
        walk: As in :class:`CallBegun`.
        attempt: The number of the attempt, from 1.
        error: The name of the class of the exception.
        seconds: From sending to the failure.
    """

    call: int
    walk: int | None
    attempt: int
    error: str
    seconds: float


class RetryScheduled(HookEvent, frozen=True, kw_only=True):
    """A failed attempt will be retried.

    Attributes:
        call: As in :class:`CallBegun`.
        walk: As in :class:`CallBegun`.
        attempt: The number of the attempt that failed, from 1.
        seconds: The backoff before the next attempt joins the queue.
        error: The name of the class of the failure.
        status: As :attr:`APIStatusError.status`; ``None`` if the failure is another error.
    """

    call: int
    walk: int | None
    attempt: int
    seconds: float
    error: str
    status: int | None = None


class PauseBegun(HookEvent, frozen=True, kw_only=True):
    """All requests of the client's limiter are paused.

    Attributes:
        seconds: For how long.
        reason: Why, in words, as :attr:`LimiterSnapshot.pause_reason`.
    """

    seconds: float
    reason: str


class PageFetched(HookEvent, frozen=True, kw_only=True):
    """A call has succeeded.

    Attributes:
        call: As in :class:`CallBegun`.
        walk: As in :class:`CallBegun`.
        records: The records on the page, malformed ones included; 0 for a ``get()``.
        malformed_records: How many of them are malformed.
        attempts: The attempts that the call took.
        seconds: From the beginning of the call to the decoded page.
    """

    call: int
    walk: int | None
    records: int
    malformed_records: int
    attempts: int
    seconds: float


class CallFailed(HookEvent, frozen=True, kw_only=True):
    """A call has failed, or was cancelled.

    Attributes:
        call: As in :class:`CallBegun`.
        walk: As in :class:`CallBegun`.
        attempts: The attempts that were sent.
        error: The name of the class of the exception.
        seconds: From the beginning of the call.
        waited: As in :class:`RequestSent`, since the last attempt that was sent.
        status: As :attr:`APIStatusError.status`; ``None`` if the failure is another error.
    """

    call: int
    walk: int | None
    attempts: int
    error: str
    seconds: float
    waited: dict[str, float] = {}
    status: int | None = None


class Hook(Protocol):
    """A function that receives each event of a client.

    It is called in the event loop, so it must return at once, and it cannot wait.
    """

    def __call__(self, event: HookEvent, /) -> object:
        """Take note of an event. The client ignores what is returned."""
        ...


_numbers = count(1)


class Hooks:
    """The hooks of one client. An exception in a hook is logged and harmless.

    Args:
        hooks: One hook, or several.

    Raises:
        ConfigurationError: One of them is not a function, or is a coroutine function.
    """

    def __init__(self, hooks: Hook | Iterable[Hook] = ()) -> None:
        self._hooks = _require_hooks(hooks)

    def __bool__(self) -> bool:
        """Whether there are any. Without hooks, no event need be built."""
        return bool(self._hooks)

    def emit(self, event: HookEvent) -> None:
        """Pass an event to all hooks, in their order."""
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001 - whatever a hook raises, the client continues
                _log.exception("a hook failed at %s; the client continues", type(event).__name__)

    def pause_begun(self, seconds: float, reason: str) -> None:
        """Emit :class:`PauseBegun`. The client's limiter calls it."""
        self.emit(PauseBegun(seconds=seconds, reason=reason))


def _require_hooks(hooks: object) -> tuple[Hook, ...]:
    if callable(hooks):
        hooks = (hooks,)
    if not isinstance(hooks, Iterable):
        raise ConfigurationError(f"hooks must be a function, or several, not {hooks!r}")
    found = tuple(hooks)
    for hook in found:
        if not callable(hook) or iscoroutinefunction(hook):
            raise ConfigurationError(
                f"each of hooks must be a function without async, not {hook!r}: it cannot wait"
            )
    return found


class WalkReport:
    """Reports one walk: enter it when the walk begins, and leave it when the walk ends.

    Args:
        hooks: They receive the events. Without hooks nothing is reported.
        path: The path of the endpoint.

    Attributes:
        walk: The number of the walk; ``None`` without hooks.
    """

    def __init__(self, hooks: Hooks, path: str) -> None:
        self.walk = next_number() if hooks else None
        self._hooks = hooks
        self._path = path
        self._pages = self._records = 0

    def __enter__(self) -> None:
        if self.walk is not None:
            self._hooks.emit(WalkBegun(walk=self.walk, path=self._path))

    def add(self, page: object) -> None:
        """Count a page that the caller receives."""
        if self.walk is not None:
            self._pages += 1
            self._records += count_records(page).records

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.walk is None:
            return
        # A caller that stops early is no error.
        name = None if kind is None or kind is GeneratorExit else kind.__name__
        ended = WalkEnded(walk=self.walk, pages=self._pages, records=self._records, error=name)
        self._hooks.emit(ended)


def next_number() -> int:
    """Return a number for a walk or a call that no other one of the process has."""
    return next(_numbers)
