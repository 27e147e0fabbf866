"""The figures that the limiter's named cases should reach, by family.

The tests and the benchmark use the same targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .quota_catalogue import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .quota_cases import CaseResult

_SMALL = 60


class Target(NamedTuple):
    """Bounds for the fields of a ``CaseResult``. The defaults accept any result.

    Attributes:
        used: The smallest accepted ``used``.
        later: The smallest accepted ``later``.
        refused: The largest accepted ``refused``.
        at_start: The largest accepted ``at_start``.
        after_start: The largest accepted ``after_start``.
        after_minute: The largest accepted ``after_minute``.
        refused_share: The largest accepted ``refused_share``.
        strangers: The largest accepted ``strangers_refused_share``.
        worst: The largest accepted ``worst``.
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
    # Half of the capacity is enough: a client that sends one request at a time is never refused.
    "at once": Target(used=0.5, refused_share=0.05),
    "start": Target(at_start=3),
    # When the client probes an unstated limit, the server may refuse all requests in flight.
    "believed": Target(used=0.8, refused=16, after_start=5),
    "change": Target(used=0.95, refused=8),
}


def get_target(name: str) -> Target:
    """Return the target of a case."""
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
        # Only the short limit is configured, so the client learns the long one from refusals.
        target = target._replace(refused=16, after_minute=12)
    if share := case.options.get("share"):
        target = target._replace(used=0.0, strangers=0.05, worst=share * limit)
    return target


def find_misses(name: str, result: CaseResult) -> list[str]:
    """Return a message for each figure of a result that misses its target."""
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
