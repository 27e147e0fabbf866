"""What a process of its own runs: one function of a benchmark, whose result it prints as JSON.

    python child.py bench_walk:measure '{"rival": "by-hand", "base_url": "http://..."}'

It imports next to nothing itself, so that a rival's memory is its own.
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
    """Keep to one CPU, the first or the last, so that server and rival are not in each other's way.

    Where there is one only, or where the system does not know of this, it does nothing.
    """
    if hasattr(os, "sched_setaffinity") and len(cpus := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, {cpus[-1 if last else 0]})


if __name__ == "__main__":
    main()
