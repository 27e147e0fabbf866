"""Running a command's coroutine to its end: signals, errors, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from cekat_async import CekatError
from cekat_async.cli.exits import ExitCode, advice, exit_code

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rich.console import Console

__all__ = ["log_to", "run_async", "say"]


class _ConsoleHandler(logging.Handler):
    """Prints what the package logs above a moving progress line, instead of into it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        say(self._console, record.getMessage())


def log_to(console: Console, *, verbose: bool) -> None:
    """Show the package's warnings, and with ``verbose`` all that it logs."""
    logger = logging.getLogger("cekat_async")
    logger.handlers[:] = [_ConsoleHandler(console)]
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    logger.propagate = False


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
    task = asyncio.current_task()
    # Windows has no such handlers; there a process ends at once.
    with contextlib.suppress(NotImplementedError):
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await command


def say(console: Console, text: str) -> None:
    """Print one line for a person, as it is."""
    console.print(f"cekat: {text}", markup=False, highlight=False, soft_wrap=True)


def _drop_stdout() -> None:
    # The reader has gone (as head does); what Python still wants to flush at exit goes nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
