"""Plain HTTP requests to a sandbox, without the package's own client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest


class Caller:
    """Sends requests to one sandbox over one session."""

    def __init__(self, session):
        self.session = session

    async def get(self, path="/api/conversations", **query):
        headers = query.pop("headers", None)
        url = f"{path}?{urlencode(query)}" if query else path
        async with self.session.get(url, headers=headers, allow_redirects=False) as reply:
            return reply.status, reply.headers, await reply.read()

    async def page(self, **query):
        status, _, body = await self.get(**query)
        assert status == 200, body
        return msgspec.json.decode(body)

    async def walk(self, after_page=None, **query):
        """Yield the records of each page, and follow cursors until there is none."""
        cursor = {}
        while True:
            page = await self.page(**query, **cursor)
            yield page["data"]
            if after_page is not None:
                after_page()
            cursor = (page.get("metadata") or {}).get("next_cursor") or {}
            if not page["data"] or not cursor.get("cursor_id"):
                return

    async def ids(self, **query):
        return [row["id"] async for page in self.walk(**query) for row in page]


async def send_once(request, handler):
    """Send a request, and prevent aiohttp's own retries of a GET after these two errors."""
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise aiohttp.ClientConnectionError from error


@pytest.fixture
def calling():
    """A context manager that returns a ``Caller`` for a sandbox."""

    @asynccontextmanager
    async def calling(sandbox, *, key=None, middlewares=(send_once,), **options):
        headers = {"Authorization": f"Bearer {key or sandbox.api_key}"}
        async with aiohttp.ClientSession(
            sandbox.base_url, headers=headers, middlewares=middlewares, **options
        ) as session:
            yield Caller(session)

    return calling


@pytest.fixture
async def caller(sandbox, calling):
    """A ``Caller`` for the sandbox of the same test."""
    async with calling(sandbox) as caller:
        yield caller
