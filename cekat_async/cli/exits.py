"""What a failure means to the one who runs the command: a line to read and an exit code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from cekat_async import errors
from cekat_async.cli.spans import span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cekat_async.cli.voice import Voice

__all__ = ["ExitCode", "advice", "exit_code", "facts", "say_failure"]


class ExitCode(IntEnum):
    """The exit codes of ``cekat``, which a scheduler can act on."""

    DONE = 0
    FAULT = 1  # in cekat itself: a traceback, to be reported
    USAGE = 2  # an option, an argument, the configuration
    KEY_REFUSED = 3
    NOT_REACHED = 4  # no answer from the server, or none in time
    API_FAILED = 5  # the server answered, but not with what was asked for
    QUOTA_SPENT = 6  # come back later
    TARGET_FAILED = 7
    MISSING_EXTRA = 8
    CHECKPOINT_REFUSED = 9  # it is broken, or of another export
    PARTIAL = 10  # done, but some of the inboxes failed for good
    REPLACEMENT_REFUSED = 11  # the target would be replaced by something that may be worse
    TARGET_BUSY = 12  # another export is writing it: run it again later
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it
    PIPE_CLOSED = 141  # 128 + SIGPIPE
    TERMINATED = 143  # 128 + SIGTERM


# The first that fits decides, so that a special case stands before what it is a case of.
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

_ADVICE: Sequence[tuple[type[errors.CekatError], str]] = (
    (errors.InboxesFailedError, "the same command goes on"),
    # These say by themselves what to check.
    (errors.TLSError, ""),
    (errors.ProxyError, ""),
    (errors.UnknownHostError, ""),
    (errors.NotSentError, "check the network and the base URL"),
    (errors.ResponseLostError, "try again, and if it stays so, ask the API's support"),
    (errors.ServerError, "try again later"),
    (errors.DeadlineExceededError, "try again later"),
)

# What the errors say for Python, said for a command line.
_AS_TYPED: Mapping[str, str] = {
    "pass api_key=… or set CEKAT_API_KEY": "set CEKAT_API_KEY, or try it with --sandbox",
    "check api_key=… or CEKAT_API_KEY": "check the key in {key_from}",
    "check base_url=… or CEKAT_BASE_URL": "check the base URL",
    "pass allow_http=True": "pass --allow-http",
    # Which of the two it is, --wait takes away both.
    "the deadline of the call, or RateLimit.longest_hold": "what the command may wait",
    "restart=True": "--restart",
    "pass checkpoint=…": "pass --checkpoint FILE",
    "replace=True": "--replace",
    "allow_empty=True": "--allow-empty",
    "incremental=False": "--full",
    "by_inbox means": "--by-inbox means",
    "by_inbox finds": "--by-inbox finds",
    "leave it out, or inbox_ids": "leave it out, or --inbox",
    "each of inbox_ids must be text with something in it": "--inbox needs an inbox id",
    "table=": "--table",
    "defuse=": "--keep-formulas",
}


def exit_code(error: errors.CekatError) -> ExitCode:
    """Return the code that stands for an error."""
    if isinstance(error, errors.InboxesFailedError) and error.errors:
        # What all of them failed with is what one can do something about.
        codes = {exit_code(one) for one in error.errors}
        return codes.pop() if len(codes) == 1 else ExitCode.API_FAILED
    return next(code for kind, code in _CODES if isinstance(error, kind))


def advice(error: errors.CekatError, key_from: str = "CEKAT_API_KEY") -> str:
    """Return an error's text with what to do about it.

    Args:
        error: What went wrong.
        key_from: Where the API key came from.
    """
    text = "; ".join([str(error), *getattr(error, "__notes__", ())])
    for said, typed in _AS_TYPED.items():
        text = text.replace(said, typed.format(key_from=key_from))
    hint = _hint(error)
    return f"{text}: {hint}" if hint else text


def facts(error: errors.CekatError) -> dict[str, Any]:
    """Return what a program may want to know of an error."""
    found: dict[str, Any] = {"error": type(error).__name__, "exit_code": exit_code(error)}
    if error.retry_after is not None:
        found["retry_after"] = error.retry_after
    if isinstance(error, errors.APIStatusError) and error.resumes_at is not None:
        found["resumes_at"] = error.resumes_at
    if isinstance(error, errors.ReplacementRefusedError):
        found["option"] = f"--{error.option.replace('_', '-')}"
    return found


def say_failure(error: errors.CekatError, voice: Voice) -> ExitCode:
    """Say what went wrong in one line, and return the code for it."""
    voice.say(advice(error, voice.key_from), event="error", level="error", **facts(error))
    return exit_code(error)


def _hint(error: errors.CekatError) -> str | None:
    if isinstance(error, errors.RateLimitError):
        return _when_to_come_back(error)
    if isinstance(error, errors.APIStatusError) and error.resumes_at is not None:
        return _when_to_come_back(error)
    return next((hint for kind, hint in _ADVICE if isinstance(error, kind)), None)


def _when_to_come_back(error: errors.APIStatusError) -> str:
    if error.resumes_at is not None:
        return f"come back {_at(error.resumes_at)}, or pass --wait"
    if error.retry_after:
        when = _at(_now() + timedelta(seconds=error.retry_after))
        return f"come back {when}, or keep to fewer requests with --rate-limit"
    return "try again later, or keep to fewer requests with --rate-limit"


def _at(moment: datetime) -> str:
    """Return a moment to come back at, for a calendar and for the clock on the wall."""
    # Never early: what is said in minutes is the first whole one behind it.
    minute = moment.astimezone(UTC) + timedelta(seconds=59, microseconds=999_999)
    left = max(0.0, (moment - _now()).total_seconds())
    return f"at {minute:%Y-%m-%d %H:%M} UTC (in {span(left)})"


def _now() -> datetime:
    return datetime.now(UTC)
