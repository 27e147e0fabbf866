"""Describes errors in logs, without quoting what a server sent. Pure."""

from __future__ import annotations

from cekat_async.errors import APIStatusError, CekatError

__all__ = ["describe_for_log"]


def describe_for_log(error: CekatError) -> str:
    """Describe an error without the text of the reply, which may quote customers."""
    if not isinstance(error, APIStatusError):
        return error.describe()
    facts = (
        f"HTTP {error.status}",
        error.path,
        f"retry after {error.retry_after:g} s" if error.retry_after is not None else None,
        error.request_id and f"request id {error.request_id}",
    )
    return f"{type(error).__name__} ({', '.join(filter(None, facts))})"
