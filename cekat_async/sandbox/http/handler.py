"""The path of one request: log, quota, fault, key, API, delivery."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from cekat_async.sandbox.api.replies import Reply, build_error, build_unauthenticated
from cekat_async.sandbox.behaviour.faults import Fault
from cekat_async.sandbox.behaviour.quota import (
    QuotaState,
    build_counter,
    build_quota_headers,
    build_retry_after,
)
from cekat_async.sandbox.http.delivery import compress_body, damage_body, send_reply
from cekat_async.sandbox.log import Log, SeenRequest
from cekat_async.sandbox.options import Quota
from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from aiohttp import web

    from cekat_async.sandbox.api.routes import Api
    from cekat_async.sandbox.behaviour.faults import Faults
    from cekat_async.sandbox.options import Compress

_logger = logging.getLogger("cekat_async.sandbox")

_WITHOUT_REPLY: Final = frozenset({"drop", "hang", "wire"})
# Even a sandbox without a quota can report, as a fault, that the daily quota is used up.
_NO_QUOTA: Final = Quota(headers=None)


class HandlerOptions(NamedTuple):
    """The options of a handler, which are also options of the sandbox with the same names."""

    api_key: str
    quota: Quota | None
    faults: Faults | None
    latency: float
    compress: Compress | None
    seed: int


class Handler:
    """Handles each request: log, quota, faults and authentication, and then the API.

    First, the quota counts every request, like a gateway. Then the handler chooses a fault: a
    scripted fault, or a random fault if none is scripted and the quota grants the request. After
    that, it checks the key, and then the request itself.

    All of this happens immediately when the request arrives, so the log has the same order as the
    changes in the account. After that, the handler waits for the rest of the latency.

    Attributes:
        script: The faults of the next requests.
        lock: The lock that all threads use to read and change the account.
    """

    def __init__(self, api: Api, log: Log, options: HandlerOptions) -> None:
        self.script: deque[Fault] = deque()
        self.lock = Lock()
        self._api = api
        self._log = log
        self._options = options
        self._counter = None if options.quota is None else build_counter(options.quota)
        self._draws = None if options.faults is None else options.faults.draws()
        self._day_resumes = -math.inf
        self._request_key = derive_key(options.seed, "request")
        self._requests = 0

    def take(self, now: float, count: int) -> QuotaState | None:
        """Take ``count`` requests from the quota. Return ``None`` if there is no quota."""
        if now < self._day_resumes:
            wait, quota = self._day_resumes - now, self._options.quota or _NO_QUOTA
            return QuotaState(0, quota.requests, 0, wait, wait, daily=True)
        return None if self._counter is None else self._counter.take(now, count)

    def exhaust_day(self, resumes: float) -> None:
        """Refuse every request until a time, like a server whose daily quota is used up."""
        self._day_resumes = resumes

    async def handle(self, request: web.BaseRequest, connection: int) -> web.StreamResponse:
        """Reply to a request that arrived on the connection with the given number."""
        seen = self._record(request, connection)
        try:
            return await self._respond(request, seen)
        finally:
            _logger.debug("sandbox: %s", seen)

    def _record(self, request: web.BaseRequest, connection: int) -> SeenRequest:
        path, _, query = request.raw_path.partition("?")
        seen = SeenRequest(
            time=asyncio.get_running_loop().time(),
            method=request.method,
            path=path,
            query=query,
            connection=connection,
            user_agent=request.headers.get("User-Agent"),
            accept_encoding=request.headers.get("Accept-Encoding"),
            authorized=self._is_authorized(request.headers.get("Authorization", "")),
        )
        self._log.requests.append(seen)
        return seen

    def _is_authorized(self, header: str) -> bool:
        scheme, _, key = header.partition(" ")
        return scheme.lower() == "bearer" and key.strip() == self._options.api_key

    async def _respond(self, request: web.BaseRequest, seen: SeenRequest) -> web.StreamResponse:
        with self.lock:
            reply, fault = self._decide(seen)
        await self._wait(fault, seen.time)
        seen.status = reply.status or None
        return await send_reply(request, reply, fault)

    def _decide(self, seen: SeenRequest) -> tuple[Reply, Fault]:
        """Return the reply to a request, and the fault to apply."""
        self._requests += 1
        headers = {"X-Request-Id": f"req_{hash_number(self._request_key, self._requests):016x}"}
        refusal = self._apply_quota(seen.time, headers)
        fault = self._next_fault(refused=refusal is not None)
        seen.fault = fault.name or None
        return self._build_reply(seen, fault, headers, refusal), fault

    def _apply_quota(self, now: float, headers: dict[str, str]) -> Reply | None:
        """Count a request and add the quota to ``headers``. Return a 429 if it is refused."""
        state = self.take(now, 1)
        if state is None:
            return None
        quota, wall = self._options.quota or _NO_QUOTA, time.time()
        headers |= build_quota_headers(quota, state, wall)
        if state.granted:
            return None
        code = "DAILY_LIMIT_EXCEEDED" if state.daily else "RATE_LIMIT_EXCEEDED"
        reply = build_error(429, code, "Too many requests")
        return reply.with_headers(build_retry_after(quota, state, wall))

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

    def _build_reply(
        self, seen: SeenRequest, fault: Fault, headers: dict[str, str], refusal: Reply | None
    ) -> Reply:
        if fault.kind in _WITHOUT_REPLY:
            return Reply(0, b"")
        if fault.kind == "raw":
            return Reply(fault.code, fault.body or b"", fault.headers)
        if fault.kind == "reply":
            reply = _build_fault_reply(fault)
        else:
            reply = refusal or self._ask_api(seen)
        body = damage_body(reply.body, fault)
        packed, packing = compress_body(body, self._options.compress, seen.accept_encoding or "")
        reply = Reply(reply.status, packed, reply.headers)
        return reply.with_headers(headers | packing | dict(fault.headers))

    def _ask_api(self, seen: SeenRequest) -> Reply:
        if not seen.authorized:
            return build_unauthenticated()
        return self._api.answer(seen.method, seen.path, seen.query)


def _build_fault_reply(fault: Fault) -> Reply:
    if fault.body is None:
        return build_error(fault.code, f"HTTP_{fault.code}", "Something went wrong")
    if not fault.body:
        return Reply(fault.code, b"", {})
    return Reply(fault.code, fault.body, {"Content-Type": "text/html; charset=utf-8"})
