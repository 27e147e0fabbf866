"""Runs one function of a benchmark in its own process, and prints the result as JSON.

    python child.py bench_walk:measure '{"rival": "by-hand", "base_url": "http://..."}'

This module imports almost nothing, so that the measured memory is that of the rival.
"""

import importlib
import json
import os
import sys


def main() -> None:
    """Call the function and print what it returns."""
    where, arguments = sys.argv[1:]
    module, function = where.split(":")
    use_cpu(last=False)
    print(json.dumps(getattr(importlib.import_module(module), function)(**json.loads(arguments))))


def use_cpu(*, last: bool) -> None:
    """Run only on the first or the last CPU, so that the server and the rival do not share a CPU.

    Do nothing if there is only one CPU, or if the system cannot bind a process to a CPU.
    """
    if hasattr(os, "sched_setaffinity") and len(cpus := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, {cpus[-1 if last else 0]})


if __name__ == "__main__":
    main()
