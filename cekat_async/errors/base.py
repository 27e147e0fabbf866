"""The base of all errors, and the errors about the use of the package itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from cekat_async.redaction import readable

if TYPE_CHECKING:
    from cekat_async.positions import Cursor

__all__ = [
    "CekatError",
    "ClientClosedError",
    "ConfigurationError",
    "DeadlineExceededError",
    "MissingExtraError",
]


class CekatError(Exception):
    """The base of all errors. ``except CekatError`` catches every error of this package.

    ``str(error)`` is the message, the known facts about the request, and advice on what to do.

    Attributes:
        message: A description of what happened.
        path: The path of the request, without its query. ``None`` if no request was involved.
        attempts: The number of times that the request was sent.
        retry_after: The seconds that the server asked the client to wait. ``None`` if it did not
            say.
        request_id: The server's id of the request. ``None`` if the server sent no id.
        cursor: The cursor of the page that failed. ``None`` for the first page, and outside walks.
        inbox_id: The id of the inbox that failed if many inboxes are read together. Otherwise
            ``None``.
        advice: The advice on what to do, if the message does not contain it. ``{option}`` in the
            text stands for an argument.
        option: The name of the argument in ``advice``.

    Examples:
        >>> try:
        ...     page = await cekat.conversations.page()
        ... except CekatError as error:
        ...     print(error)
    """

    advice: str | None = None
    option: str | None = None

    # The code that knows these attributes sets them. The defaults in the class keep the constructor
    # and pickling simple.
    path: str | None = None
    attempts: int = 0
    retry_after: float | None = None
    request_id: str | None = None
    cursor: Cursor | None = None
    inbox_id: str | None = None
    _argument: str = ""

    def __init__(self, message: str = "") -> None:
        # Remove surrogates, so that any program can print or log the error.
        message = readable(message)
        super().__init__(message)
        self.message = message

    def locate(
        self, *, path: str | None = None, cursor: Cursor | None = None, inbox_id: str | None = None
    ) -> Self:
        """Set the given facts that this error does not have yet, and return the error.

        Args:
            path: The path of the request.
            cursor: The cursor of the page that failed.
            inbox_id: The id of the inbox that failed.
        """
        self.path = self.path or path
        self.cursor = self.cursor or cursor
        self.inbox_id = self.inbox_id or inbox_id
        return self

    def _facts(self) -> list[str]:
        """Return the known facts besides the message, in reading order."""
        facts = (
            self.path,
            self.inbox_id and f"inbox {self.inbox_id}",
            f"{self.attempts} attempts" if self.attempts > 1 else None,
            f"retry after {self.retry_after:g} s" if self.retry_after is not None else None,
            self.request_id and f"request id {self.request_id}",
        )
        return [fact for fact in facts if fact]

    def advise(self, advice: str, **argument: object) -> Self:
        """Set the advice and the argument that it names, and return this error.

        Args:
            advice: The advice on what to do. ``{option}`` in the text stands for the argument.
            **argument: The name of the argument, with the value to pass. Only one is allowed.

        Examples:
            >>> error = TargetError("the file exists").advise("pass {option}", replace=True)
            >>> str(error)
            'the file exists: pass replace=True'
        """
        self.advice = advice
        ((self.option, value),) = argument.items()
        self._argument = f"{self.option}={value}"
        return self

    def describe(self) -> str:
        """Return the message and the known facts about the request, without the advice.

        Examples:
            >>> CekatError("the server failed").locate(path="/api/inboxes").describe()
            'the server failed (/api/inboxes)'
        """
        facts = self._facts()
        return f"{self.message} ({', '.join(facts)})" if facts else self.message

    def __str__(self) -> str:
        """Return the message, the known facts about the request, and the advice."""
        text, advice = self.describe(), (self.advice or "").replace("{option}", self._argument)
        return f"{text}: {advice}" if text and advice else text


class ConfigurationError(CekatError, ValueError):
    """An argument or an option is wrong. The message says how to correct it."""


class MissingExtraError(ConfigurationError):
    """A required library is not installed. The message has the command that installs it."""


class ClientClosedError(CekatError):
    """A client, listing or budget was used after it was closed, or was closed during use."""


class DeadlineExceededError(CekatError, TimeoutError):
    """The call took longer than ``Timeout.request`` or ``Timeout.deadline`` allows.

    If the request was still in the client's own queue because other calls use the quota, the
    message says so. ``__cause__`` is the error of the last attempt, if an attempt failed.
    """
