"""Exit codes, and errors formatted as one line that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from cekat_async import errors
from cekat_async.cli.formatting import format_duration, format_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cekat_async.cli.reporter import Reporter

__all__ = ["ExitCode", "format_error", "get_error_fields", "get_exit_code", "report_error"]


class ExitCode(IntEnum):
    """The exit codes of ``cekat``, which a scheduler can act on."""

    DONE = 0
    FAULT = 1  # a bug in cekat: please report the traceback
    USAGE = 2  # an option, an argument or the configuration is wrong
    KEY_REFUSED = 3
    NOT_REACHED = 4  # the server sent no response, or none in time
    API_FAILED = 5  # the server responded, but not with what was requested
    QUOTA_SPENT = 6  # run the command again later
    TARGET_FAILED = 7
    MISSING_EXTRA = 8
    CHECKPOINT_REFUSED = 9  # the checkpoint is broken, or belongs to another export
    PARTIAL = 10  # the export is done, but some inboxes failed permanently
    REPLACEMENT_REFUSED = 11  # the new content of the target may be worse than the old
    TARGET_BUSY = 12  # another export is writing the target: run it again later
    INTERRUPTED = 130  # 128 + SIGINT, as in shells
    PIPE_CLOSED = 141  # 128 + SIGPIPE
    TERMINATED = 143  # 128 + SIGTERM


# The first class that matches counts, so a subclass is listed before its base class.
_CODES: Sequence[tuple[type[errors.CekatError], ExitCode]] = (
    (errors.MissingExtraError, ExitCode.MISSING_EXTRA),
    (errors.ConfigurationError, ExitCode.USAGE),
    (errors.AuthenticationError, ExitCode.KEY_REFUSED),
    (errors.PermissionDeniedError, ExitCode.KEY_REFUSED),
    (errors.RateLimitError, ExitCode.QUOTA_SPENT),
    (errors.TargetBusyError, ExitCode.TARGET_BUSY),
    (errors.ReplacementRefusedError, ExitCode.REPLACEMENT_REFUSED),
    (errors.TargetError, ExitCode.TARGET_FAILED),
    (errors.CheckpointError, ExitCode.CHECKPOINT_REFUSED),
    (errors.TransportError, ExitCode.NOT_REACHED),
    (errors.DeadlineExceededError, ExitCode.NOT_REACHED),
    (errors.CekatError, ExitCode.API_FAILED),
)

_TLS_ADVICE = (
    "if you use a certificate authority of your own, set SSL_CERT_FILE to its certificate file. "
    "Client certificates work only in Python"
)

# Advice for users of the command line, which replaces the error's own advice.
_ADVICE: Sequence[tuple[type[errors.CekatError], str]] = (
    (errors.InboxesFailedError, "to resume, run the same command again"),
    (errors.AuthenticationError, "check the key in {key_source}"),
    (errors.NotFoundError, "check the base URL"),
    # The error's own advice is for Python, because it recommends a session.
    (errors.TLSError, _TLS_ADVICE),
    # The messages of these errors already say what to check, so they need no advice.
    (errors.ProxyError, ""),
    (errors.UnknownHostError, ""),
    (errors.NotSentError, "check the network and the base URL"),
    (errors.ResponseLostError, "try again. If it keeps failing, ask the API's support"),
    (errors.ServerError, "try again later"),
    (errors.MalformedRecordError, "report it to the API's support"),
    (errors.DeadlineExceededError, "try again later"),
)

# The options for those Python arguments whose names differ from their options.
_TYPED: Mapping[str, str] = {"checkpoint": "--checkpoint FILE", "incremental": "--full"}


def get_exit_code(error: errors.CekatError) -> ExitCode:
    """Return the exit code for an error."""
    if isinstance(error, errors.InboxesFailedError) and error.errors:
        # If all inboxes failed with the same exit code, that code is more useful to the user.
        codes = {get_exit_code(one) for one in error.errors}
        return codes.pop() if len(codes) == 1 else ExitCode.API_FAILED
    return next(code for kind, code in _CODES if isinstance(error, kind))


def format_error(error: errors.CekatError, key_source: str = "CEKAT_API_KEY") -> str:
    """Return the text of an error, with advice on what to do."""
    text = "; ".join([error.describe(), *_get_notes(error)])
    advice = _get_advice(error, key_source)
    return f"{text}: {advice}" if advice else text


def get_error_fields(error: errors.CekatError) -> dict[str, Any]:
    """Return an error as fields for a log in JSON."""
    fields: dict[str, Any] = {"error": type(error).__name__, "exit_code": get_exit_code(error)}
    if error.retry_after is not None:
        fields["retry_after"] = error.retry_after
    if (resumes_at := _get_resumption(error)) is not None:
        fields["resumes_at"] = resumes_at
    if isinstance(error, errors.ReplacementRefusedError) and error.option:
        fields["option"] = format_option(error.option)
    return fields


def report_error(error: errors.CekatError, reporter: Reporter) -> ExitCode:
    """Report an error in one line, and return its exit code."""
    text = format_error(error, reporter.key_source)
    reporter.report(text, event="error", level="error", **get_error_fields(error))
    return get_exit_code(error)


def _get_notes(error: errors.CekatError) -> Sequence[str]:
    """Return notes that say why the client did not retry."""
    if _get_resumption(error) is not None and error.retry_after is not None:
        # The error's own note names Python arguments.
        return [
            f"not retried: a pause of {error.retry_after:.0f} s is longer than the command may wait"
        ]
    return getattr(error, "__notes__", ())


def _get_advice(error: errors.CekatError, key_source: str) -> str | None:
    if isinstance(error, errors.RateLimitError) or _get_resumption(error) is not None:
        return _advise_when_to_resume(error)
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice.format(key_source=key_source)
    option = error.option or ""
    return error.advice and error.advice.replace(
        "{option}", _TYPED.get(option) or format_option(option)
    )


def _get_resumption(error: errors.CekatError) -> datetime | None:
    return error.resumes_at if isinstance(error, errors.APIStatusError) else None


def _advise_when_to_resume(error: errors.CekatError) -> str:
    if (resumes_at := _get_resumption(error)) is not None:
        return f"try again {_format_moment(resumes_at)}, or pass --wait"
    if error.retry_after:
        when = _format_moment(_now() + timedelta(seconds=error.retry_after))
        return f"try again {when}, or send fewer requests with --rate-limit"
    return "try again later, or send fewer requests with --rate-limit"


def _format_moment(moment: datetime) -> str:
    """Return a moment as a date and as a duration from now, rounded up to the next minute."""
    minute = moment.astimezone(UTC) + timedelta(seconds=59, microseconds=999_999)
    left = max(0.0, (moment - _now()).total_seconds())
    return f"at {minute:%Y-%m-%d %H:%M} UTC (in {format_duration(left)})"


def _now() -> datetime:
    return datetime.now(UTC)
