"""The cost of starting: imports and ``cekat --help``, compared with a bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec

from child import use_cpu
from suite import (
    Claim,
    Metric,
    Result,
    Sample,
    argument_parser,
    differences,
    interleaved,
    show,
    values,
)

BARE, OURS = "an interpreter alone", "cekat_async"
# The import is lazy, so the first client takes the time for the rest.
CLIENT = "cekat_async, a client made"
_MAKE_CLIENT = "from cekat_async import CekatClient; CekatClient('benchmark')"
HELP = "cekat_async, the command cekat --help"
_OTHERS = ("aiohttp", "requests", "httpx", "openai")
_METRICS = [Metric(key="ms", heading="ms"), Metric(key="over", heading="over the interpreter")]


def started(*arguments: str) -> Sample:
    """Run Python. Return the number of milliseconds that it took."""
    with tempfile.TemporaryDirectory() as elsewhere:
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], check=True, cwd=elsewhere, stdout=subprocess.DEVNULL
        )
        return {"ms": 1000 * (time.perf_counter() - begin)}


def cases() -> dict[str, partial[Sample]]:
    """Return the cases by name.

    Cases whose packages are not installed are left out.
    """
    statements = {OURS: "import cekat_async", CLIENT: _MAKE_CLIENT}
    statements |= {name: f"import {name}" for name in _OTHERS if find_spec(name)}
    found = {name: partial(started, "-c", what) for name, what in statements.items()}
    help_ = partial(started, "-m", "cekat_async", "--help")
    return {BARE: partial(started, "-c", "pass"), **found, HELP: help_}


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=21)
    options = parser.parse_args()
    use_cpu(last=False)
    wanted = cases()
    interleaved(wanted, 1)  # so that all modules are compiled and cached
    result = Result(
        title=f"starting, rounds: {options.rounds}",
        metrics=_METRICS,
        samples=interleaved(wanted, options.rounds),
        notes=[
            f"Skipped, because it is not installed: {name}."
            for name in _OTHERS
            if name not in wanted
        ],
    )
    for name in wanted:
        for sample, over in zip(
            result.samples[name], differences(result, name, BARE, "ms"), strict=True
        ):
            sample["over"] = over
    result.claims = [
        Claim(what="import cekat_async", values=values(result, OURS, "over"), wanted=80, unit="ms"),
        Claim(what="cekat --help", values=values(result, HELP, "ms"), wanted=250, unit="ms"),
    ]
    show([result], as_json=options.json)


if __name__ == "__main__":
    main()
