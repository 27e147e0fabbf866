"""Named cases over real sockets: how much of the quota a client uses, and how often it is refused.

Each case has a process for the server (``quota_server.py``), which counts requests, and a process
for the client (``quota_client.py``). A case takes four minutes, or ten periods with a stranger.
``--jobs`` cases run at once. In most cases there is a rival: a hand-written loop that is paced by
aiolimiter, knows the true limit, and obeys the ``Retry-After`` of a 429. If an event loop was more
than 50 ms late, the case is discarded, unless the case blocks the loop on purpose.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from suite import HERE, Metric, Result, Sample, Samples, argument_parser, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MINUTE = 60.0
_START = 10.0
_MOST_LAG = 0.05
_OURS, _RIVAL = "cekat_async", "AsyncLimiter"
_STALL = (2.0, 10.0)
_SERVICE, _AT_ONCE = 1.5, 5

_METRICS = [
    Metric(key="used", heading="% used", digits=1),
    Metric(key="later", heading="from the second minute", digits=1),
    Metric(key="refused", heading="429s"),
    Metric(key="after_minute", heading="after the first minute"),
    Metric(key="refused_share", heading="% refused after 10 s", digits=1),
    Metric(key="strangers", heading="% of the stranger's refused", digits=1),
    Metric(key="lag", heading="lag, ms"),
]


class Bound(NamedTuple):
    """The least or the most that a figure of a sample should be."""

    key: str
    wanted: float
    is_least: bool = False

    def miss(self, sample: Sample) -> str | None:
        """Return how a sample misses the bound, or ``None`` if it does not."""
        value = sample.get(self.key)
        if value is None or (value >= self.wanted if self.is_least else value <= self.wanted):
            return None
        return f"{self.key} {value:.1f}, wanted {'>=' if self.is_least else '<='} {self.wanted:g}"


class Case(NamedTuple):
    """A server, the options of our client, and the figures that it should reach.

    Attributes:
        server: Arguments of ``quota_server.Settings``.
        rate: Requests per second that the server grants in the long run.
        bounds: The figures that our client should reach.
        options: Arguments of ``RateLimit``.
        seconds: How long it takes.
        stall: The way in which the client's event loop is blocked.
        has_rival: True if the hand-written loop runs too.
    """

    server: Mapping[str, Any]
    rate: float
    bounds: Sequence[Bound]
    options: Mapping[str, Any] = {}
    seconds: float = 4 * _MINUTE
    stall: tuple[float, float] | None = None
    has_rival: bool = True


class Job(NamedTuple):
    """A case with one of the contenders."""

    name: str
    contender: str
    seconds: float
    seed: int


def _window(kind: str, limit: int, per: float = _MINUTE, **more: int) -> dict[str, Any]:
    return {"kind": kind, "limit": limit, "per": per, **more}


def _uses(percent: float, *more: Bound) -> list[Bound]:
    return [Bound("used", percent, is_least=True), Bound("later", percent, is_least=True), *more]


_NEVER = Bound("refused", 0)
_LEARNS = [Bound("later", 95, is_least=True), Bound("refused", 8), Bound("after_minute", 0)]
_PER_PERIOD = Bound("refused", 10)
_FIXED, _SLIDING = _window("fixed", 300), _window("sliding", 300)

CASES = {
    "alone, fixed window, headers": Case({"windows": [_FIXED]}, 5, _uses(98, _NEVER)),
    "alone, sliding window, no headers": Case(
        {"windows": [_SLIDING], "headers": None}, 5, _uses(98, _NEVER), {"requests": 300}
    ),
    "alone, 60 in 60 s": Case({"windows": [_window("sliding", 60)]}, 1, _uses(97, _NEVER)),
    "bucket that reports its size": Case(
        {"windows": [_window("bucket", 30, 1.0, size=10)], "headers": "no reset"},
        30,
        _LEARNS,
        has_rival=False,
    ),
    "short and long window": Case(
        {"windows": [_window("fixed", 10, 1.0), _FIXED]}, 5, _LEARNS, has_rival=False
    ),
    "5-second window": Case(
        {"windows": [_window("fixed", 60, 5.0)]},
        12,
        _LEARNS,
        {"requests": 60, "per": 5.0},
    ),
    "1 % overload, headers": Case({"windows": [_FIXED], "faults": 0.01}, 5, _uses(96, _NEVER)),
    "1 % overload, no headers": Case(
        {"windows": [_SLIDING], "faults": 0.01, "headers": None},
        5,
        _uses(96, _NEVER),
        {"requests": 300},
    ),
    "event loop blocked": Case({"windows": [_FIXED]}, 5, _uses(97, _NEVER), stall=_STALL),
    "stranger": Case(
        {"windows": [_SLIDING], "stranger": 1.5},
        5,
        _uses(97, _PER_PERIOD, Bound("strangers", 8)),
        seconds=10 * _MINUTE,
    ),
    "stranger, share=0.5": Case(
        {"windows": [_SLIDING], "stranger": 1.5},
        5,
        [_PER_PERIOD, Bound("strangers", 5)],
        {"share": 0.5},
        seconds=10 * _MINUTE,
        has_rival=False,
    ),
    "five at once": Case(
        {"windows": [_FIXED], "at_once": _AT_ONCE, "service": _SERVICE},
        _AT_ONCE / (_SERVICE + 0.025),
        [Bound("refused_share", 5)],
    ),
}


def run(job: Job, starting: Lock) -> dict[str, Any]:
    """Run a case with a contender.

    Args:
        job: The case and the contender.
        starting: Held while processes start. A start takes a whole CPU, so two starts at once would
            delay the clients that already run.

    Returns:
        The server's report with the lag of the slower event loop. The report is empty if the client
        failed.
    """
    case = CASES[job.name]
    with ExitStack() as processes:
        with starting:
            server = processes.enter_context(_start("quota_server.py", _server(job)))
            port = int(_read_line(server))
            client = processes.enter_context(_start("quota_client.py", _client(job, port)))
            _read_line(client)
        lag, _ = client.communicate()
        report, _ = server.communicate()
    print(f"{job.name}: {job.contender}", file=sys.stderr, flush=True)
    if client.returncode:
        return {}
    found: dict[str, Any] = json.loads(report)
    return found | {"lag": max(found["lag"], 0.0 if case.stall else float(lag))}


def _start(script: str, settings: Mapping[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / script), json.dumps(settings)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _read_line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout else ""


def _server(job: Job) -> dict[str, Any]:
    """Return the settings of the server. The random numbers differ between cases."""
    return {**CASES[job.name].server, "seed": f"{job.name} {job.seed}"}


def _client(job: Job, port: int) -> dict[str, Any]:
    """Return the settings of the client."""
    case = CASES[job.name]
    return {
        "base_url": f"http://127.0.0.1:{port}",
        "seconds": job.seconds,
        "options": case.options,
        "by_hand": [1, 1 / case.rate] if job.contender == _RIVAL else None,
        "stall": case.stall,
    }


def sample(job: Job, report: Mapping[str, Any]) -> Sample:
    """Return the figures of a report."""
    case, seconds = CASES[job.name], job.seconds
    granted = [at for at in report["granted"] + report["strangers_granted"] if at < seconds]
    refused = report["refused"]
    late = sum(at >= _START for at in report["granted"] + refused + report["faults"])
    found = {
        "used": 100 * len(granted) / (case.rate * seconds),
        "refused": len(refused),
        "after_minute": sum(at >= _MINUTE for at in refused),
        "refused_share": 100 * sum(at >= _START for at in refused) / max(1, late),
        "lag": 1000 * report["lag"],
    }
    if seconds > _MINUTE:
        could = case.rate * (seconds - _MINUTE)
        found["later"] = 100 * sum(at >= _MINUTE for at in granted) / could
    if wanted := len(report["strangers_granted"]) + len(report["strangers_refused"]):
        found["strangers"] = 100 * len(report["strangers_refused"]) / wanted
    return found


def jobs(names: Sequence[str], scale: float, seed: int, *, with_rivals: bool) -> list[Job]:
    """Return the jobs to run, with the longest first."""
    found = [Job(name, _OURS, scale * CASES[name].seconds, seed) for name in names]
    if with_rivals:
        found += [job._replace(contender=_RIVAL) for job in found if CASES[job.name].has_rival]
    return sorted(found, key=lambda job: -job.seconds)


def result(reports: Mapping[Job, Mapping[str, Any]], scale: float) -> Result:
    """Return the table in the order of the cases.

    Its notes list the misses and the failures.
    """
    samples, notes = Samples(), list[str]()
    for job in sorted(reports, key=lambda job: ([*CASES].index(job.name), job.contender != _OURS)):
        label = f"{job.contender}, {job.name}"
        report = reports[job]
        if not report:
            notes.append(f"failed: {label}")
        elif report["lag"] > _MOST_LAG:
            notes.append(
                f"discarded: {label}: an event loop was {1000 * report['lag']:.0f} ms late"
            )
        else:
            samples[label] = [sample(job, report)]
    if scale == 1:
        notes += missed(samples)
    else:
        notes.append(f"too short to be meaningful: {scale:g} of the time")
    return Result(
        title="the quota, named cases over sockets", metrics=_METRICS, samples=samples, notes=notes
    )


def missed(samples: Samples) -> Iterator[str]:
    """Yield each bound that our client does not meet."""
    for name, case in CASES.items():
        for one in samples.get(f"{_OURS}, {name}", ()):
            for text in filter(None, (bound.miss(one) for bound in case.bounds)):
                yield f"missed: {name}: {text}"


def main() -> int:
    """Run the chosen cases and print them. With ``--check``, fail if a case misses its figures."""
    parser = argument_parser(__doc__)
    known = "; ".join(CASES).replace("%", "%%")
    parser.add_argument(
        "names", nargs="*", help=f"run the cases whose names contain one of these: {known}"
    )
    parser.add_argument("--jobs", type=int, default=4, help="cases at once")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="run for this part of the time, to try it"
    )
    parser.add_argument("--seed", type=int, default=1, help="the seed of all random numbers")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="keep each request's time, as JSON"
    )
    parser.add_argument("--without-rivals", action="store_true", help="only our client")
    parser.add_argument("--check", action="store_true", help="fail if a figure is missed")
    options = parser.parse_args()
    names = [name for name in CASES if not options.names or any(t in name for t in options.names)]
    wanted = jobs(names, options.scale, options.seed, with_rivals=not options.without_rivals)
    with ThreadPoolExecutor(options.jobs) as pool:
        work = partial(run, starting=Lock())
        reports = dict(zip(wanted, pool.map(work, wanted), strict=True))
    if options.keep:
        kept = [{**job._asdict(), "report": report} for job, report in reports.items()]
        options.keep.write_text(json.dumps(kept), encoding="utf-8")
    found = result(reports, options.scale)
    show([found], as_json=options.json)
    is_wrong = any(note.startswith("missed") for note in found.notes)
    return int(not all(reports.values()) or (options.check and is_wrong))


if __name__ == "__main__":
    sys.exit(main())
