"""Tests that are coroutines on a virtual clock."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from support.clock import run_virtual


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a virtual clock that begins at 0."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run
