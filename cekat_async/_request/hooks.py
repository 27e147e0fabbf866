"""Hooks: functions that receive the events of a client, and these events.

An event never contains the key, a cursor, a body, a name, a phone number or a message.
"""

# Hooks of any type are checked, and isinstance does not tell what an iterable yields.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections.abc import Iterable
from inspect import iscoroutinefunction
from typing import Protocol

import msgspec

from cekat_async.errors import ConfigurationError

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
]

_log = logging.getLogger("cekat_async")


class HookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The base class of all events that a hook receives."""


class WalkBegun(HookEvent, frozen=True, kw_only=True):
    """A walk of a listing has begun. Each ``async for`` and each method of a listing is a walk.

    Attributes:
        walk: The number of the walk. It is unique among the walks of all clients of the process.
        path: The path of the endpoint.
    """

    walk: int
    path: str


class WalkEnded(HookEvent, frozen=True, kw_only=True):
    """A walk has ended: at its last page, early, or with an error.

    Attributes:
        walk: The number of the walk, as in :class:`WalkBegun`.
        pages: How many pages the caller received.
        records: How many records are on these pages, malformed ones included.
        error: The class name of the exception that ended the walk. ``None`` if none did.
    """

    walk: int
    pages: int
    records: int
    error: str | None = None


class CallBegun(HookEvent, frozen=True, kw_only=True):
    """A call has begun: one ``page()``, one ``get()``, or one page of a walk, with its retries.

    Attributes:
        call: The number of the call. It is unique among the calls of all clients of the process.
        walk: The number of the walk that the call belongs to. ``None`` if it belongs to none.
        path: The path of the endpoint.
        inbox_id: The inbox that is requested. ``None`` for all inboxes.
    """

    call: int
    walk: int | None
    path: str
    inbox_id: str | None = None


class RequestSent(HookEvent, frozen=True, kw_only=True):
    """An attempt is being sent to the server.

    Attributes:
        call: The number of the call, as in :class:`CallBegun`.
        walk: The number of its walk, or ``None``.
        attempt: The number of the attempt, from 1.
        method: The HTTP method.
        url: Scheme, host, port and path, without the query.
        waited: The seconds that the attempt waited, since the call began or the attempt before it
            failed, by reason: ``"concurrency"``, ``"quota"``, ``"pause"`` and ``"backoff"``. During
            a pause that the server asked for, all time counts as ``"pause"``. Waits of less than a
            millisecond are left out.
    """

    call: int
    walk: int | None
    attempt: int
    method: str
    url: str
    waited: dict[str, float]


class ReplyReceived(HookEvent, frozen=True, kw_only=True):
    """An attempt received a whole reply, of any status.

    Attributes:
        call: The number of the call, as in :class:`CallBegun`.
        walk: The number of its walk, or ``None``.
        attempt: The number of the attempt, from 1.
        status: The HTTP status.
        seconds: The time from sending to the end of the body.
        size: How many bytes of the body were read, after decompression.
    """

    call: int
    walk: int | None
    attempt: int
    status: int
    seconds: float
    size: int


class RequestFailed(HookEvent, frozen=True, kw_only=True):
    """An attempt that was sent received no whole reply, or was cancelled.

    Attributes:
        call: The number of the call, as in :class:`CallBegun`.
        walk: The number of its walk, or ``None``.
        attempt: The number of the attempt, from 1.
        error: The class name of the exception.
        seconds: The time from sending to the failure.
    """

    call: int
    walk: int | None
    attempt: int
    error: str
    seconds: float


class RetryScheduled(HookEvent, frozen=True, kw_only=True):
    """A failed attempt will be retried.

    Attributes:
        call: The number of the call, as in :class:`CallBegun`.
        walk: The number of its walk, or ``None``.
        attempt: The number of the attempt that failed, from 1.
        seconds: The backoff before the next attempt joins the queue.
        error: The class name of the failure.
        status: :attr:`APIStatusError.status` of the failure. ``None`` if it is another error.
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
        seconds: The length of the pause.
        reason: The reason in words, as in :attr:`LimiterSnapshot.pause_reason`.
    """

    seconds: float
    reason: str


class PageFetched(HookEvent, frozen=True, kw_only=True):
    """A call has succeeded.

    Attributes:
        call: The number of the call, as in :class:`CallBegun`.
        walk: The number of its walk, or ``None``.
        records: How many records are on the page, malformed ones included. 0 for a ``get()``.
        malformed_records: How many of them are malformed.
        attempts: How many attempts the call took.
        seconds: The time from the beginning of the call to the decoded page.
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
        call: The number of the call, as in :class:`CallBegun`.
        walk: The number of its walk, or ``None``.
        attempts: How many attempts were sent.
        error: The class name of the exception.
        seconds: The time since the call began.
        waited: The seconds that the call waited since its last attempt, by reason, as in
            :class:`RequestSent`.
        status: :attr:`APIStatusError.status` of the failure. ``None`` if it is another error.
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

    The client calls it in the event loop, so it must return at once and cannot be ``async``.

    Examples:
        >>> def count_retries(event: HookEvent) -> None:
        ...     if isinstance(event, RetryScheduled):
        ...         print("retry after", event.error)
        >>> async with CekatClient(hooks=count_retries) as client:
        ...     page = await client.conversations.page()
    """

    def __call__(self, event: HookEvent, /) -> object:
        """Receive an event. The client ignores the result."""
        ...


class Hooks:
    """The hooks of one client. An exception in a hook is logged, and the client continues.

    Args:
        hooks: One hook, or several. Default: none.

    Raises:
        ConfigurationError: One of them is not a function, or is a coroutine function.

    Examples:
        >>> bool(cekat.hooks)  # this client has no hooks
        False
    """

    def __init__(self, hooks: Hook | Iterable[Hook] = ()) -> None:
        self._hooks = _require_hooks(hooks)

    def __bool__(self) -> bool:
        """Whether there are any hooks. Without hooks, you need not build events."""
        return bool(self._hooks)

    def emit(self, event: HookEvent) -> None:
        """Pass an event to all hooks, in their order.

        Args:
            event: The event. Programs that use the client may define their own.

        Examples:
            >>> class ReportWritten(HookEvent, frozen=True, kw_only=True):
            ...     rows: int
            >>> if cekat.hooks:
            ...     cekat.hooks.emit(ReportWritten(rows=1200))
        """
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001 - whatever a hook raises, the client continues
                _log.exception("a hook failed on %s; the client continues", type(event).__name__)

    def pause_begun(self, seconds: float, reason: str) -> None:
        """Emit :class:`PauseBegun`. The client's limiter calls this.

        Args:
            seconds: The length of the pause.
            reason: The reason in words.
        """
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
