"""Running a command's coroutine to its end: signals, errors, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any, TextIO

from cekat_async import CekatError, TargetError
from cekat_async.cli.exits import ExitCode, advice, exit_code
from cekat_async.cli.show import say
from cekat_async.cli.stderr import lead_nowhere

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from rich.console import Console

__all__ = ["log_everything", "log_to", "on_a_terminal", "run_async", "write_out"]

_LOGGER = logging.getLogger("cekat_async")


class _ConsoleHandler(logging.Handler):
    """Prints what the package logs above a moving progress line, instead of into it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        say(self._console, record.getMessage())


def log_to(console: Console) -> None:
    """Show the package's warnings."""
    _LOGGER.handlers[:] = [_ConsoleHandler(console)]
    _LOGGER.setLevel(logging.WARNING)
    _LOGGER.propagate = False


def log_everything() -> None:
    """Show all that the package logs, and not its warnings alone."""
    _LOGGER.setLevel(logging.DEBUG)


def run_async(command: Coroutine[Any, Any, None], console: Console) -> ExitCode:
    """Run a command to its end and return its exit code, having said what went wrong."""
    try:
        with asyncio.Runner() as runner:
            runner.run(_until_terminated(command))
    except CekatError as error:
        say(console, advice(error))
        return exit_code(error)
    except asyncio.CancelledError:
        say(console, "terminated")
        return ExitCode.TERMINATED
    except KeyboardInterrupt:
        say(console, "interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return ExitCode.PIPE_CLOSED
    return ExitCode.DONE


async def _until_terminated(command: Coroutine[Any, Any, None]) -> None:
    """Await a command, and let SIGTERM end it as Ctrl-C would: cleanly."""
    task = asyncio.ensure_future(command)
    # Windows has no such handlers; there a process ends at once.
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


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
        _drop_stdout()
        reason = error.strerror or error
        raise TargetError(f"cannot write to standard output: {reason}") from error


def _drop_stdout() -> None:
    # What Python still wants to flush at its exit goes nowhere, instead of failing once more.
    lead_nowhere(sys.stdout)
