"""Running a command's coroutine to its end: signals, errors, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, TextIO

from cekat_async import CekatError, TargetError
from cekat_async.cli.exits import ExitCode, say_failure
from cekat_async.cli.loops import loop_factory
from cekat_async.cli.stderr import lead_nowhere

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from cekat_async.cli.voice import Voice

__all__ = [
    "drop_stdout",
    "on_a_terminal",
    "run_async",
    "write_out",
]

_LOGGER = logging.getLogger("cekat_async")
_STANDARD_ERROR = 2


def run_async(command: Coroutine[Any, Any, ExitCode | None], voice: Voice) -> ExitCode:
    """Run a command to its end and return its exit code, having said what went wrong."""
    _fill_standard_descriptors()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
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


def _fill_standard_descriptors() -> None:
    """Let those of 0, 1 and 2 lead nowhere that were closed before this process began.

    Else what is opened next would get one of their numbers: a connection, a checkpoint. Whatever
    writes to a number would write into it, and uvloop ends a process that it finds so.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
            pass
        os.close(descriptor)


def _say_stopped(word: str, code: ExitCode, voice: Voice) -> ExitCode:
    voice.say(word, event="stopped", level="warning", exit_code=code)
    return code


async def _until_terminated(command: Coroutine[Any, Any, ExitCode | None]) -> ExitCode | None:
    """Await a command, and let SIGTERM end it as Ctrl-C would: cleanly."""
    task = asyncio.ensure_future(command)
    loop = asyncio.get_running_loop()
    _LOGGER.debug("the event loop is that of %s", type(loop).__module__.partition(".")[0])
    # On Windows a process that is terminated ends at once. There asyncio has no such handlers, and
    # winloop's would take Ctrl-C away from asyncio.
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
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
