"""A transport that returns a list of prepared replies or errors, without a network."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Self

from multidict import CIMultiDict

from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request


def reply(status: int = 200, body: bytes = b'{"data":[]}', **headers: str) -> Reply:
    """Return a reply. Underscores in the name of a header become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, CIMultiDict(named), body)


class ScriptedTransport:
    """Answers each request with the next step: a reply, an error to raise, or a function.

    It records the arrival time of each request on the loop's clock.
    """

    def __init__(
        self, steps: Iterable[Reply | Exception | Callable[[Request], Reply]], latency: float = 0.0
    ) -> None:
        self._steps = iter(steps)
        self._latency = latency
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.under_way = 0
        self.most_under_way = 0

    def with_timeout(self, _timeout: object) -> Self:
        """Return this transport, which has no timeouts."""
        return self

    def require_usable(self) -> None:
        """Accept requests at any time, from any loop."""

    async def exchange(self, request: Request) -> Reply:
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        step = next(self._steps)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self._latency)
        finally:
            self.under_way -= 1
        if isinstance(step, Exception):
            raise step
        return step(request) if callable(step) else step
