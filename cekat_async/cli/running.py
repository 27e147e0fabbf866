"""Running a command's coroutine to its end: signals, errors, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any, TextIO

from cekat_async import CekatError, TargetError
from cekat_async.cli.exits import ExitCode, advice, exit_code, facts
from cekat_async.cli.stderr import lead_nowhere

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from cekat_async.cli.voice import Voice

__all__ = [
    "drop_stdout",
    "log_everything",
    "log_to",
    "on_a_terminal",
    "run_async",
    "say_failure",
    "write_out",
]

_LOGGER = logging.getLogger("cekat_async")


class _VoiceHandler(logging.Handler):
    """Says what the package logs above a moving progress line, instead of into it."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        event = "warning" if record.levelno >= logging.WARNING else "log"
        self._voice.say(record.getMessage(), event=event, level=level)


def log_to(voice: Voice) -> None:
    """Show the package's warnings."""
    _LOGGER.handlers[:] = [_VoiceHandler(voice)]
    _LOGGER.setLevel(logging.WARNING)
    _LOGGER.propagate = False


def log_everything() -> None:
    """Show all that the package logs, and not its warnings alone."""
    _LOGGER.setLevel(logging.DEBUG)


def run_async(command: Coroutine[Any, Any, ExitCode | None], voice: Voice) -> ExitCode:
    """Run a command to its end and return its exit code, having said what went wrong."""
    try:
        with asyncio.Runner() as runner:
            return runner.run(_until_terminated(command)) or ExitCode.DONE
    except CekatError as error:
        return say_failure(error, voice)
    except asyncio.CancelledError:
        return _say_stopped("terminated", ExitCode.TERMINATED, voice)
    except KeyboardInterrupt:
        return _say_stopped("interrupted", ExitCode.INTERRUPTED, voice)
    except BrokenPipeError:
        drop_stdout()
        return ExitCode.PIPE_CLOSED


def say_failure(error: CekatError, voice: Voice) -> ExitCode:
    """Say what went wrong in one line, and return the code for it."""
    voice.say(advice(error, voice.key_from), event="error", level="error", **facts(error))
    return exit_code(error)


def _say_stopped(word: str, code: ExitCode, voice: Voice) -> ExitCode:
    voice.say(word, event="stopped", level="warning", exit_code=code)
    return code


async def _until_terminated(command: Coroutine[Any, Any, ExitCode | None]) -> ExitCode | None:
    """Await a command, and let SIGTERM end it as Ctrl-C would: cleanly."""
    task = asyncio.ensure_future(command)
    # Windows has no such handlers; there a process ends at once.
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def on_a_terminal() -> bool:
    """Tell whether standard output is a terminal: asked first, so that nothing is fetched in vain.

    Raises:
        TargetError: There is no standard output.
    """
    return _stdout().isatty()


def _stdout() -> TextIO:
    if sys.stdout is None:  # closed before this process began, as by ``>&-``
        raise TargetError("cannot write to standard output: it is closed")
    return sys.stdout


def write_out(lines: Iterable[bytes]) -> None:
    """Write to standard output, byte for byte.

    Raises:
        BrokenPipeError: Who was reading it has gone.
        TargetError: It cannot be written, as with a full disk behind ``>``.
    """
    stdout = _stdout().buffer
    try:
        stdout.writelines(lines)
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_stdout()
        reason = error.strerror or error
        raise TargetError(f"cannot write to standard output: {reason}") from error


def drop_stdout() -> None:
    """Let what Python still wants to flush at its exit go nowhere, and not fail once more."""
    if sys.stdout is not None:
        lead_nowhere(sys.stdout)
