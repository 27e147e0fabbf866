"""What stands before the API: the log, the quota, the key, and whatever goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from .api import Api, Reply, error, not_authenticated
from .faults import Fault
from .headers import quota_headers, retry_after
from .log import Log, SeenRequest
from .mixing import mix, subkey
from .quota import Standing, counter
from .wire import compressed, deliver

if TYPE_CHECKING:
    from aiohttp import web

    from .faults import Faults
    from .options import Compress, Quota

_SPEECHLESS: Final = frozenset({"drop", "hang", "wire"})


class GateOptions(NamedTuple):
    """How a gate behaves; each as the sandbox's option of the same name."""

    api_key: str
    quota: Quota | None
    faults: Faults | None
    latency: float
    compress: Compress | None
    seed: int


class Gate:
    """Takes each request through log, quota, faults and authentication to the API.

    The quota counts every request, before anything else can happen to it, as gateways do. Then
    comes the fault: a scripted one, or else a random one unless the quota refuses. Then the key
    is looked at, and only then the request itself.

    All of that happens when the request arrives, in one go. Only then does its answer wait, so that
    making it is part of the latency, and requests meet the account in the order of the log.

    Args:
        api: answers what gets through.
        log: keeps what was seen.
        options: how the gate behaves.
    """

    def __init__(self, api: Api, log: Log, options: GateOptions) -> None:
        self.script: deque[Fault] = deque()
        self._api = api
        self._log = log
        self._options = options
        self._counter = None if options.quota is None else counter(options.quota)
        self._draws = None if options.faults is None else options.faults.draws()
        self._request_key = subkey(options.seed, "request")
        self._requests = 0

    def take(self, count: int) -> Standing | None:
        """Ask the quota for `count` requests now; `None` when there is none."""
        if self._counter is None:
            return None
        return self._counter.take(asyncio.get_running_loop().time(), count)

    async def handle(self, request: web.BaseRequest, connection: int) -> web.StreamResponse:
        """Answer a request that came on the connection with this number."""
        seen = self._see(request, connection)
        usual = self._usual_headers()
        refusal = self._refusal(usual)
        fault = self._next_fault(refused=refusal is not None)
        seen.fault = fault.name or None
        reply = self._reply(seen, fault, usual, refusal)
        await self._wait(fault, seen.time)
        seen.status = reply.status or None
        return await deliver(request, reply, fault)

    def _see(self, request: web.BaseRequest, connection: int) -> SeenRequest:
        path, _, query = request.raw_path.partition("?")
        seen = SeenRequest(
            time=asyncio.get_running_loop().time(),
            method=request.method,
            path=path,
            query=query,
            connection=connection,
            user_agent=request.headers.get("User-Agent"),
            accept_encoding=request.headers.get("Accept-Encoding"),
            authorized=self._authorized(request.headers.get("Authorization", "")),
        )
        self._log.requests.append(seen)
        return seen

    def _authorized(self, header: str) -> bool:
        scheme, _, key = header.partition(" ")
        return scheme.lower() == "bearer" and key.strip() == self._options.api_key

    def _usual_headers(self) -> dict[str, str]:
        self._requests += 1
        return {"X-Request-Id": f"req_{mix(self._request_key, self._requests):016x}"}

    def _refusal(self, usual: dict[str, str]) -> Reply | None:
        """Count a request, add what the quota says to `usual`, and return the 429 if it is one."""
        quota, standing = self._options.quota, self.take(1)
        if quota is None or standing is None:
            return None
        wall = time.time()
        usual |= quota_headers(quota, standing, wall)
        if standing.granted:
            return None
        code = "DAILY_LIMIT_EXCEEDED" if standing.daily else "RATE_LIMIT_EXCEEDED"
        reply = error(429, code, "Too many requests")
        return reply.adding(retry_after(quota, standing, wall))

    def _next_fault(self, *, refused: bool) -> Fault:
        if self.script:
            return self.script.popleft()
        if self._draws is None or refused:
            return Fault.ok()
        return next(self._draws)

    async def _wait(self, fault: Fault, arrived: float) -> None:
        seconds = self._options.latency + (fault.seconds if fault.kind == "delay" else 0.0)
        if seconds:
            await asyncio.sleep(arrived + seconds - asyncio.get_running_loop().time())

    def _reply(
        self, seen: SeenRequest, fault: Fault, usual: dict[str, str], refusal: Reply | None
    ) -> Reply:
        if fault.kind in _SPEECHLESS:
            return Reply(0, b"")
        if fault.kind == "raw":
            return Reply(fault.code, fault.body or b"", fault.headers)
        reply = _reply_of(fault) or refusal or self._api_reply(seen)
        body = reply.body
        if fault.kind == "truncate":
            body = body[: int(len(body) * fault.keep)]
        packed, packing = compressed(body, self._options.compress, seen.accept_encoding or "")
        return Reply(reply.status, packed, reply.headers).adding(
            usual | packing | dict(fault.headers)
        )

    def _api_reply(self, seen: SeenRequest) -> Reply:
        if not seen.authorized:
            return not_authenticated()
        return self._api.answer(seen.method, seen.path, seen.query)


def _reply_of(fault: Fault) -> Reply | None:
    if fault.kind != "reply":
        return None
    if fault.body is None:
        return error(fault.code, f"HTTP_{fault.code}", "Something went wrong")
    if not fault.body:
        return Reply(fault.code, b"", {})
    return Reply(fault.code, fault.body, {"Content-Type": "text/html; charset=utf-8"})
