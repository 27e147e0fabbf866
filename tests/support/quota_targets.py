"""The figures that the named cases of the limiter should reach, by family.

The tests and the benchmark compare with the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .quota_catalogue import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .quota_cases import CaseResult

_SMALL = 60


class Target(NamedTuple):
    """Bounds for a result; those that are left out hold for any result.

    Attributes:
        used: The least part of the quota that is used in all.
        later: The same from the second minute on.
        refused: The most replies of 429.
        at_start: The most of them in the first ten seconds.
        after_start: The most of them after that.
        after_minute: The most of them after the first minute.
        refused_share: The largest part of the requests after ten seconds that is refused.
        strangers: The largest part of the strangers' requests that is refused.
        worst: The most requests in any window.
    """

    used: float = 0.0
    later: float = 0.0
    refused: float = float("inf")
    at_start: float = float("inf")
    after_start: float = float("inf")
    after_minute: float = float("inf")
    refused_share: float = 1.0
    strangers: float = 1.0
    worst: float = float("inf")


_LEARNS = Target(later=0.95, refused=8, after_minute=0)
_TARGETS = {
    "alone": Target(used=0.98, refused=0),
    "size": _LEARNS,
    "two": _LEARNS,
    "unstated": _LEARNS,
    "overload": Target(used=0.96, refused=0),
    "stall": Target(used=0.97, refused=0),
    "catch up": Target(),
    "stranger": Target(used=0.97, strangers=0.08),
    # Half of the capacity: a client that sends one request at a time is refused nothing.
    "at once": Target(used=0.5, refused_share=0.05),
    "start": Target(at_start=3),
    # Every probe of a limit that nobody states costs what is in flight.
    "believed": Target(used=0.8, refused=16, after_start=5),
    "change": Target(used=0.95, refused=8),
}


def get_target(name: str) -> Target:
    """Return what a case should reach."""
    case, family = CASES[name], name.partition("/")[0]
    target = _TARGETS[family]
    limit = case.server.windows[0].limit
    if family in {"alone", "stall"}:
        target = target._replace(worst=limit)
    if family == "alone" and limit == _SMALL:
        target = target._replace(used=0.97)
    if family == "stranger":
        target = target._replace(refused=case.periods)
    if name.endswith("/10 in 1 s"):
        # The caller has told only the short limit: the long one is found by refusals.
        target = target._replace(refused=16, after_minute=12)
    if share := case.options.get("share"):
        target = target._replace(used=0.0, strangers=0.05, worst=share * limit)
    return target


def find_misses(name: str, result: CaseResult) -> list[str]:
    """Return each figure of a result that misses its target, and the target; empty if none does."""
    return list(_compare(get_target(name), result))


def _compare(target: Target, result: CaseResult) -> Iterator[str]:
    for key in ("used", "later"):
        value, least = getattr(result, key), getattr(target, key)
        if value < least:
            yield f"{key} {value:.1%} < {least:.0%}"
    for key in ("refused", "at_start", "after_start", "after_minute", "worst"):
        value, most = getattr(result, key), getattr(target, key)
        if value > most:
            yield f"{key} {value:g} > {most:g}"
    shares = {
        "refused_share": (result.refused_share, target.refused_share),
        "strangers": (result.strangers_refused_share, target.strangers),
    }
    for key, (share, highest) in shares.items():
        if share > highest:
            yield f"{key} {share:.1%} > {highest:.0%}"
