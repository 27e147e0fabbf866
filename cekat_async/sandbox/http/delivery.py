"""Sends a reply, which may be compressed, or damaged by a fault."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cekat_async.sandbox.api.replies import PAGE_START

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cekat_async.sandbox.api.replies import Reply
    from cekat_async.sandbox.behaviour.faults import Fault
    from cekat_async.sandbox.options import Compress

_MALFORMED_RECORD: Final = b'{"id":null,"contact_name":"a record without an id"}'


async def send_reply(request: web.BaseRequest, reply: Reply, fault: Fault) -> web.StreamResponse:
    """Send a reply with the damage that a fault does to it."""
    match fault.kind:
        case "drop":
            return _abort(request)
        case "wire":
            return _send_raw(request, fault.body or b"")
        case "hang":
            return await _hang()
        case "drop_mid_body":
            return await _drop_mid_body(request, reply, fault.keep)
        case "trickle":
            return await _trickle(request, reply, fault)
        case _:
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


def damage_body(body: bytes, fault: Fault) -> bytes:
    """Return a body with the damage that a fault does to its JSON."""
    if fault.kind == "truncate":
        return body[: int(len(body) * fault.keep)]
    if fault.kind == "malformed_record":
        # Unless the page is empty, a comma must follow the inserted record.
        rest = body.removeprefix(PAGE_START)
        comma = b"" if rest.startswith(b"]") else b","
        return body if rest == body else PAGE_START + _MALFORMED_RECORD + comma + rest
    return body


def compress_body(body: bytes, how: Compress | None, accepted: str) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers for its encoding. Compress it if the client accepts that."""
    if how is None or not body or not _accepts(accepted, how):
        return body, {}
    # Write no timestamp into gzip data, so that the same request gets the same bytes.
    packed = gzip.compress(body, 6, mtime=0) if how == "gzip" else zlib.compress(body)
    return packed, {"Content-Encoding": how, "Vary": "Accept-Encoding"}


def _accepts(header: str, coding: str) -> bool:
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == coding:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _abort(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    # aiohttp requires a response. When it sends the response, it notices that the connection is
    # closed.
    return web.Response()


def _send_raw(request: web.BaseRequest, data: bytes) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.write(data)
        request.transport.close()
    return web.Response()


async def _hang() -> web.StreamResponse:
    never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await never


async def _open(
    request: web.BaseRequest, status: int, headers: Mapping[str, str], length: int
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    await response.prepare(request)
    return response


async def _drop_mid_body(request: web.BaseRequest, reply: Reply, keep: float) -> web.StreamResponse:
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
