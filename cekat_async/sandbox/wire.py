"""Getting a reply onto the connection, whole or damaged."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .api import Reply
    from .faults import Fault
    from .options import Compress


async def deliver(request: web.BaseRequest, reply: Reply, fault: Fault) -> web.StreamResponse:
    """Send `reply` in the way of `fault`."""
    match fault.kind:
        case "drop":
            return _cut(request, b"", at_once=True)
        case "wire":
            return _cut(request, fault.body or b"", at_once=False)
        case "hang":
            return await _never()
        case "drop_mid_body":
            return await _half(request, reply, fault.keep)
        case "trickle":
            return await _trickle(request, reply, fault)
        case _:
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


async def _never() -> web.StreamResponse:
    never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await never


def compressed(body: bytes, how: Compress | None, accepted: str) -> tuple[bytes, dict[str, str]]:
    """Return `body` as `how` packs it, and its headers, if the client accepts that."""
    if how is None or not body or not _accepts(accepted, how):
        return body, {}
    # No time of packing: the same request gets the same bytes.
    packed = gzip.compress(body, 6, mtime=0) if how == "gzip" else zlib.compress(body)
    return packed, {"Content-Encoding": how, "Vary": "Accept-Encoding"}


def _accepts(header: str, coding: str) -> bool:
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == coding:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _cut(request: web.BaseRequest, data: bytes, *, at_once: bool) -> web.StreamResponse:
    transport = request.transport
    if transport is not None and at_once:
        transport.abort()
    elif transport is not None:
        transport.write(data)
        transport.close()
    # aiohttp wants a response, and finds the connection closed when it tries to send it.
    return web.Response()


async def _open(
    request: web.BaseRequest, status: int, headers: Mapping[str, str], length: int
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    await response.prepare(request)
    return response


async def _half(request: web.BaseRequest, reply: Reply, keep: float) -> web.StreamResponse:
    response = await _open(request, reply.status, reply.headers, len(reply.body))
    await response.write(reply.body[: int(len(reply.body) * keep)])
    if request.transport is not None:
        request.transport.close()
    return response


async def _trickle(request: web.BaseRequest, reply: Reply, fault: Fault) -> web.StreamResponse:
    response = await _open(request, reply.status, reply.headers, len(reply.body))
    for start in range(0, len(reply.body), fault.size):
        await response.write(reply.body[start : start + fault.size])
        await asyncio.sleep(fault.seconds)
    return response
