"""The rivals of a walk. Each walks all pages, reads the id of each record, and counts them.

A rival is a function in a module of this package. The module imports what the rival needs. So a
process imports only what its own rival needs, and rivals whose packages are missing can be skipped.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Walk: TypeAlias = "Callable[[str], int | Coroutine[Any, Any, int]]"
"""The function of a rival: it takes a base URL, and returns the number of records."""

OURS, OURS_UVLOOP = "cekat", "cekat-uvloop"
BY_HAND, BY_HAND_UVLOOP = "by-hand", "by-hand-uvloop"
PYDANTIC, OPENAI = "httpx-pydantic", "openai"


class Rival(NamedTuple):
    """The title of a rival, the place of its function, and the packages that it needs."""

    title: str
    module: str
    function: str = "walk"
    packages: tuple[str, ...] = ()
    uvloop: bool = False

    @property
    def missing(self) -> list[str]:
        """The packages that the rival needs and that are not installed."""
        needed = (*self.packages, "uvloop") if self.uvloop else self.packages
        return [package for package in needed if find_spec(package) is None]


RIVALS = {
    OURS: Rival("cekat_async `list()`", "ours"),
    BY_HAND: Rival("hand-written loop: aiohttp + msgspec", "by_hand", "by_hand"),
    "by-hand-paced": Rival("hand-written loop, tenacity + aiolimiter", "by_hand_paced"),
    OURS_UVLOOP: Rival("cekat_async `list()`, uvloop", "ours", uvloop=True),
    BY_HAND_UVLOOP: Rival("hand-written loop, uvloop", "by_hand", "by_hand", uvloop=True),
    "aiohttp-json": Rival("aiohttp + json", "aiohttp_json"),
    "requests-json": Rival("requests + json", "requests_json", packages=("requests",)),
    "httpx-json": Rival("httpx + json", "httpx_json", packages=("httpx",)),
    PYDANTIC: Rival("httpx + pydantic", "httpx_pydantic", packages=("httpx", "pydantic")),
    OPENAI: Rival("openai's generic client", "openai_client", packages=("openai",)),
    "dlt": Rival("dlt's REST source", "dlt_source", packages=("dlt",)),
}


def load(name: str) -> Walk:
    """Import a rival and return its function."""
    rival = RIVALS[name]
    function: Walk = getattr(import_module(f"rivals.{rival.module}"), rival.function)
    return function


def walk(name: str, base_url: str) -> int:
    """Walk all pages with a rival.

    If the rival is asynchronous, run it in an event loop.
    """
    walked = load(name)(base_url)
    if isinstance(walked, int):
        return walked
    with asyncio.Runner(loop_factory=_uvloop() if RIVALS[name].uvloop else None) as runner:
        return runner.run(walked)


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory
