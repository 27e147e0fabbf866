"""Runs a command's coroutine, and handles the event loop, signals, errors and exit codes."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from cekat_async import CekatError
from cekat_async.cli.exit_codes import ExitCode, report_error
from cekat_async.cli.streams import discard_stdout, fill_standard_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cekat_async.cli.reporter import Reporter

__all__ = ["run_async"]

_LOGGER = logging.getLogger("cekat_async")
_LIBRARY = "winloop" if sys.platform == "win32" else "uvloop"


def run_async(command: Coroutine[Any, Any, ExitCode | None], reporter: Reporter) -> ExitCode:
    """Run a command, report its errors, and return its exit code."""
    fill_standard_descriptors()
    try:
        with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
            return runner.run(_run_until_terminated(command)) or ExitCode.DONE
    except CekatError as error:
        return report_error(error, reporter)
    except asyncio.CancelledError:
        return _report_stopped("terminated", ExitCode.TERMINATED, reporter)
    except KeyboardInterrupt:
        return _report_stopped("interrupted", ExitCode.INTERRUPTED, reporter)
    except BrokenPipeError:
        discard_stdout()
        return ExitCode.PIPE_CLOSED


def _find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop or winloop; ``None`` for asyncio's own event loop.

    If the library is installed but fails to load, the command warns and uses asyncio.
    """
    try:
        if sys.platform == "win32":
            import winloop as library  # noqa: PLC0415 - optional
        else:
            import uvloop as library  # noqa: PLC0415 - optional
        factory: Callable[[], asyncio.AbstractEventLoop] = library.new_event_loop
    # A library that is too old for this version of Python fails with an AttributeError.
    except (ImportError, AttributeError) as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == _LIBRARY):
            _LOGGER.warning(
                "%s is installed but fails to load (%s): using asyncio", _LIBRARY, error
            )
        return None
    return factory


async def _run_until_terminated(command: Coroutine[Any, Any, ExitCode | None]) -> ExitCode | None:
    """Await a command. SIGTERM cancels the command in the same way as Ctrl-C."""
    task = asyncio.ensure_future(command)
    loop = asyncio.get_running_loop()
    _LOGGER.debug("the event loop is that of %s", type(loop).__module__.partition(".")[0])
    # On Windows, terminating a process ends it immediately. asyncio has no signal handlers there,
    # and the signal handlers of winloop would disable asyncio's handling of Ctrl-C.
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _report_stopped(word: str, code: ExitCode, reporter: Reporter) -> ExitCode:
    reporter.report(word, event="stopped", level="warning", exit_code=code)
    return code
