"""Runs work in steps, so that decoding a large reply does not block the event loop.

A function that may take long is a generator that pauses after a few milliseconds of work. The
pipeline runs it, and lets other tasks run at each pause.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

__all__ = ["Steps", "run_steps"]

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""A generator that does work in steps. It yields ``None`` at each pause."""


def run_steps(steps: Steps[T]) -> T:
    """Run work in steps without pausing, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
