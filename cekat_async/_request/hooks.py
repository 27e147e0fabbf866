"""Hooks are functions that receive the events of a client. This module defines both.

An event never contains the key, a cursor, a body, a name, a phone number or a message.
"""

# Callers may pass hooks of any type, and isinstance cannot show what an iterable yields.
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
    """A walk of a listing has begun. Each ``async for`` over a listing is one walk.

    Attributes:
        walk: The number of the walk, which is unique among all clients of the process.
        path: The path of the endpoint.
    """

    walk: int
    path: str


class WalkEnded(HookEvent, frozen=True, kw_only=True):
    """A walk has ended: after its last page, early, or with an error.

    Attributes:
        walk: The number of the walk, as in :class:`WalkBegun`.
        pages: The number of pages that the caller received.
        records: The number of records on these pages, including malformed records.
        error: The class name of the exception that ended the walk. ``None`` without an error.
    """

    walk: int
    pages: int
    records: int
    error: str | None = None


class CallBegun(HookEvent, frozen=True, kw_only=True):
    """A call has begun: one ``page()``, one ``get()``, or one page of a walk, with its retries.

    Attributes:
        call: The number of the call, which is unique among all clients of the process.
        walk: The number of the call's walk. ``None`` if the call belongs to no walk.
        path: The path of the endpoint.
        inbox_id: The ID of the requested inbox. ``None`` for all inboxes.
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
        url: The scheme, host, port and path, without the query.
        waited: The seconds that the attempt waited, by reason: ``"concurrency"``, ``"quota"``,
            ``"pause"`` or ``"backoff"``. The seconds count from the beginning of the call, or from
            the failure of the previous attempt. All waiting during a server pause counts as
            ``"pause"``. Waits of less than a millisecond are omitted.
    """

    call: int
    walk: int | None
    attempt: int
    method: str
    url: str
    waited: dict[str, float]


class ReplyReceived(HookEvent, frozen=True, kw_only=True):
    """An attempt received a complete reply, with any status.

    Attributes:
        call: The number of the call, as in :class:`CallBegun`.
        walk: The number of its walk, or ``None``.
        attempt: The number of the attempt, from 1.
        status: The HTTP status.
        seconds: The time from sending to the end of the body.
        size: The number of bytes read from the body, after decompression.
    """

    call: int
    walk: int | None
    attempt: int
    status: int
    seconds: float
    size: int


class RequestFailed(HookEvent, frozen=True, kw_only=True):
    """An attempt was sent, but received no complete reply or was cancelled.

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
        seconds: The seconds of backoff before the next attempt joins the queue.
        error: The class name of the exception.
        status: The HTTP status of an :class:`APIStatusError`. ``None`` for any other exception.
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
        records: The number of records on the page, including malformed records. 0 for a ``get()``.
        malformed_records: The number of malformed records on the page.
        attempts: The number of attempts that the call took.
        seconds: The time from the beginning of the call until the page was decoded.
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
        attempts: The number of attempts that were sent.
        error: The class name of the exception.
        seconds: The time since the call began.
        waited: The seconds that the call waited after its last attempt, by reason as in
            :class:`RequestSent`.
        status: The HTTP status of an :class:`APIStatusError`. ``None`` for any other exception.
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

    The client calls the hook in the event loop, so the hook must return quickly and cannot be
    ``async``.

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
        ConfigurationError: A hook is not a function, or is a coroutine function.

    Examples:
        >>> bool(cekat.hooks)  # this client has no hooks
        False
    """

    def __init__(self, hooks: Hook | Iterable[Hook] = ()) -> None:
        self._hooks = _require_hooks(hooks)

    def __bool__(self) -> bool:
        """Whether there are any hooks. Without hooks, callers need not build events."""
        return bool(self._hooks)

    def emit(self, event: HookEvent) -> None:
        """Pass an event to all hooks, in their order.

        Args:
            event: The event. Programs that use the client may define their own events.

        Examples:
            >>> class ReportWritten(HookEvent, frozen=True, kw_only=True):
            ...     rows: int
            >>> if cekat.hooks:
            ...     cekat.hooks.emit(ReportWritten(rows=1200))
        """
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001 - the client continues after any error in a hook
                _log.exception("a hook failed on %s; the client continues", type(event).__name__)

    def pause_begun(self, seconds: float, reason: str) -> None:
        """Emit :class:`PauseBegun`. The client's limiter calls this method.

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
