"""Runs exports in child processes that can be killed at any moment.

If this module runs as a program, it imports everything, and then forks a process for each export.
A fork takes only some milliseconds, so a test can kill hundreds of exports. The program has a
single thread, so a fork never copies a lock that another thread holds.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path
    from types import FrameType
    from typing import Self

    from cekat_async.sandbox import Sandbox

# Calls that reach the disk, a database or another process. ``run`` is also in the list: the event
# loop calls it once for each step of a coroutine.
_STEPS = frozenset(
    {"execute", "executemany", "commit", "write", "fsync", "flush", "replace", "rename", "unlink"}
    | {"rmdir", "mkdir", "truncate", "close", "copy", "write_batch", "write_table", "append", "run"}
)

# A fork copies a single thread, so imports of numpy and pyarrow must not start other threads.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


class Zygote:
    """Starts exports in child processes. Use it in a ``with`` statement."""

    def __enter__(self) -> Self:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | _ONE_THREAD,
        )
        assert process.stdin
        assert process.stdout
        self._process, self._jobs, self._results = process, process.stdin, process.stdout
        assert self._results.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs.close()
        self._process.wait()
        self._results.close()

    def export(self, sandbox: Sandbox, target: str | Path, **job: Any) -> list[int]:
        """Run an export, and return its exit code and the number of counted steps.

        Args:
            sandbox: The source.
            target: The target.
            job: Arguments of the export, and these options: ``kill_at`` is the step at
                which the export is killed, counted from 1. With 0, the steps are counted but the
                export is not killed. Without ``kill_at``, the steps are not counted.
                ``kill_after`` is the number of seconds after which the export is killed.
                ``largest_file`` is the maximum size of a file.
        """
        job |= {"base_url": sandbox.base_url, "api_key": sandbox.api_key, "target": str(target)}
        self._jobs.write(json.dumps(job) + "\n")
        self._jobs.flush()
        result: list[int] = json.loads(self._results.readline())
        return result


def steps_counted(kill_at: int | None, steps: Container[str] = _STEPS) -> list[int]:
    """Count the steps in all threads, and kill this process at step ``kill_at``.

    With None, it counts nothing.
    """
    count = [0]
    if kill_at is None:  # an export is much faster if its steps are not counted
        return count

    def look(_frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in steps:
            count[0] += 1
            if count[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(look)
    threading.setprofile(look)
    return count


async def _export(base_url: str, api_key: str, target: str, **options: Any) -> None:
    from cekat_async import CekatClient  # noqa: PLC0415 - once forked
    from cekat_async.export import export_conversations  # noqa: PLC0415 - once forked

    async with CekatClient(api_key, base_url=base_url, rate_limit=None) as client:
        settings: dict[str, Any] = {"page_size": 20, "account": "an account"}
        await export_conversations(client, target, **settings | options)


def _run(job: dict[str, Any], out: int) -> None:
    if (largest := job.pop("largest_file", None)) is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    count = steps_counted(job.pop("kill_at", None))
    asyncio.run(_export(**job))
    sys.setprofile(None)
    os.write(out, str(count[0]).encode())


def _forked(job: dict[str, Any]) -> tuple[int, int]:
    kill_after = job.pop("kill_after", None)
    reader, out = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reader)
            _run(job, out)
            code = 0
        except BaseException:  # noqa: BLE001 - the child process ends here after any exception
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(out)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as steps:
        return os.waitstatus_to_exitcode(status), int(steps.read() or 0)


def _import_all() -> None:
    """Import everything that an export may need, because imports in each child would be slow."""
    import cekat_async  # noqa: PLC0415

    for module in pkgutil.walk_packages(cekat_async.__path__, "cekat_async."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for extra in ("duckdb", "psycopg", "pyarrow.parquet", "zstandard"):
        with suppress(ModuleNotFoundError):
            importlib.import_module(extra)
    gc.freeze()  # imported modules never become garbage


def main() -> None:
    """Fork a process that runs an export for each line of standard input."""
    _import_all()
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
