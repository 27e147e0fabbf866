"""Counts the work of a function instead of timing it, and scales how much the tests do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from cekat_async.models.steps import Steps

T = TypeVar("T")
EFFORT = int(os.environ.get("CEKAT_TEST_EFFORT", "1"))
"""A factor for tests whose repetitions take long, such as kills at random moments.

1 is for every day. ``.ci/run all`` and a search for something rare set more.
"""


def run_in_steps(steps: Steps[T]) -> tuple[T, int]:
    """Return the result of work in steps, and the number of its pauses."""
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result, pauses
        pauses += 1


def calls_in(work: Callable[[], object]) -> int:
    """Return the number of function calls of ``work()``, including those into C."""
    count = 0

    def look(_frame: FrameType, event: str, _called: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
