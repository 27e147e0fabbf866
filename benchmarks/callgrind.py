"""Counts the instructions per page of a walk, with ``valgrind --tool=callgrind``.

Each case walks two listings of different length, each in a child process. The difference between
the two counts is divided by the difference in pages. So the result leaves out everything that
happens once: imports, connecting, the first page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from suite import HERE, Metric, Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Arguments = tuple[str, ...]

_METRICS = [Metric(key="instructions", heading="thousand instructions a page", ratio=True)]
_MISSING = "Not measured, because valgrind is not installed."


def measure(
    code: str,
    walks: Mapping[str, Sequence[Arguments]],
    pages: tuple[int, int],
    *,
    reference: str,
) -> Result:
    """Measure each case only once, because runs differ by less than 1 %.

    Args:
        code: The Python code of a child process that walks a listing.
        walks: The arguments of that process for the shorter and the longer listing, by case.
        pages: The lengths of the two listings.
        reference: The case with which the others are compared.
    """
    title = f"pages of 100, {pages[1]} of them minus {pages[0]}"
    result = Result(title=title, metrics=_METRICS, samples={}, reference=reference)
    if (valgrind := shutil.which("valgrind")) is None:
        result.notes = [_MISSING]
        return result
    each = [arguments for pair in walks.values() for arguments in pair]
    # The processes run in parallel, because the counts do not depend on the load of the machine.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = [*pool.map(partial(_count, valgrind, code), each)]
    for case, few, many in zip(walks, counts[::2], counts[1::2], strict=True):
        result.samples[case] = [{"instructions": (many - few) / (pages[1] - pages[0]) / 1000}]
    return result


def _count(valgrind: str, code: str, arguments: Arguments) -> int:
    """Return the number of instructions that a process executes."""
    child = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        [valgrind, "--tool=callgrind", f"--callgrind-out-file={os.devnull}", *child],
        check=True,
        capture_output=True,
        text=True,
        cwd=HERE,
        # Without this variable, each process has different hashes, and so different collisions.
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    print(*arguments, sep=", ", file=sys.stderr, flush=True)
    [found] = re.findall(r"Collected : (\d+)", done.stderr)
    return int(found)
