"""The text of errors in logs, which shows nothing that a server wrote. Pure."""

from __future__ import annotations

from cekat_async.errors import APIStatusError, CekatError

__all__ = ["describe_for_log"]


def describe_for_log(error: CekatError) -> str:
    """Return what an error is about, without the message in a reply: it may quote customers."""
    text = error.describe()
    if isinstance(error, APIStatusError):
        return type(error).__name__ + text.removeprefix(error.message)
    return text
