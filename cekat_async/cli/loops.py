"""The event loop that commands run on: a faster one where it is installed, else asyncio's own."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["loop_factory"]

_LOGGER = logging.getLogger("cekat_async")
_LIBRARY = "winloop" if sys.platform == "win32" else "uvloop"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop; ``None`` for asyncio's own.

    A library that is there and does not work is told in a warning. It does not end the command,
    which goes on as if it were not there: more slowly, but to the same end.
    """
    try:
        if sys.platform == "win32":
            import winloop as library  # noqa: PLC0415 - optional
        else:
            import uvloop as library  # noqa: PLC0415 - optional
        make: Callable[[], asyncio.AbstractEventLoop] = library.new_event_loop
    # An attribute is what one misses that is older than this Python.
    except (ImportError, AttributeError) as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == _LIBRARY):
            _LOGGER.warning(
                "%s is installed but does not work (%s): going on without it", _LIBRARY, error
            )
        return None
    return make
