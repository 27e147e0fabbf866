"""Counts a function's work instead of timing it, and sets how often tests repeat slow checks."""

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
"""Multiplies the number of repetitions in slow tests, such as kills at random moments.

Everyday runs use 1. ``.ci/run all`` uses more, and so does a search for a rare failure.
"""


def run_in_steps(steps: Steps[T]) -> tuple[T, int]:
    """Run all steps, and return the result and the number of pauses between steps."""
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result, pauses
        pauses += 1


def calls_in(work: Callable[[], object]) -> int:
    """Return the number of function calls that ``work()`` makes, including C functions."""
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
