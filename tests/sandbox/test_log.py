"""The sandbox's record of requests and connections."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import until
from yarl import URL

from cekat_async.sandbox import Fault, Log, Sandbox, SeenRequest


def seen_at(time):
    return SeenRequest(time, "GET", "/", "", 1, None, None, authorized=True)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 20))
def test_the_most_in_any_window_is_counted(gaps, seconds):
    """``most_in_any`` is the maximum over all half-open windows that start with a request."""
    times = [sum(gaps[:end]) / 4 for end in range(1, len(gaps) + 1)]
    log = Log([seen_at(time) for time in times])
    expected = max((sum(a <= b < a + seconds for b in times) for a in times), default=0)
    assert log.most_in_any(seconds) == expected


async def test_a_request_is_logged_as_it_was_sent(calling):
    """The log has method, path, query, agent and encoding byte for byte as they were sent."""
    async with Sandbox(5) as sandbox, calling(sandbox) as caller:
        query = "cursor_ts=2026-04-10T09%3A51:19.885&cursor_id=%41b+c&x"
        url = URL(f"{sandbox.base_url}/api/conv%65rsations?{query}", encoded=True)
        headers = {"User-Agent": "me/1", "Accept-Encoding": "br"}
        before = asyncio.get_running_loop().time()
        async with aiohttp.ClientSession() as stranger:
            await (await stranger.get(url, headers=headers)).read()
        await caller.get()
        after = asyncio.get_running_loop().time()
        first, second = sandbox.log.requests
    assert (first.method, first.path, first.query) == ("GET", "/api/conv%65rsations", query)
    assert (first.user_agent, first.accept_encoding) == ("me/1", "br")
    assert (first.authorized, second.authorized) == (False, True)
    assert (first.status, second.status) == (401, 200)
    assert (first.connection, second.connection) == (1, 2)
    assert before <= first.time <= second.time <= after


async def test_the_key_is_nowhere_in_the_log(calling):
    """Neither the log nor any of its records contains a key, whether right or wrong."""
    async with Sandbox(5, api_key="top-secret-key") as sandbox:
        for key in ("top-secret-key", "wrong-secret-key"):
            async with calling(sandbox, key=key) as caller:
                await caller.get()
    assert len(sandbox.log.requests) == 2
    assert "secret" not in repr(sandbox.log)


async def test_each_request_is_logged_in_one_line_without_private_values(calling, caplog):
    """The DEBUG line has method, path, known parameters, status and fault, but no key or cursor."""
    async with Sandbox(5, api_key="top-secret-key") as sandbox, calling(sandbox) as caller:
        sandbox.fail_next(Fault.ok(), Fault.drop())
        with caplog.at_level(logging.DEBUG, "cekat_async.sandbox"):
            await caller.get(limit=2, cursor_id="abc", cursor_ts="2026-01-01", token="secret")
            with pytest.raises(aiohttp.ClientError):
                await caller.get("/api/inboxes")
    assert caplog.messages == [
        "sandbox: GET /api/conversations?limit=2&cursor_id=***&cursor_ts=***&token=***: 200",
        "sandbox: GET /api/inboxes: no reply (fault: drop)",
    ]


async def test_answers_are_counted(calling):
    """``served`` counts complete 200 replies, and ``refused`` counts 429 replies."""
    async with Sandbox(5) as sandbox, calling(sandbox) as caller:
        sandbox.fail_next(Fault.ok(), Fault.status(429), Fault.truncate(), Fault.status(500))
        for _ in range(5):
            await caller.get()
        await caller.get(limit=0)
        assert (sandbox.log.served, sandbox.log.refused) == (2, 1)
        assert len(sandbox.log.requests) == 6


async def test_connections_are_counted(calling):
    """A reused connection counts once, and parallel or dropped connections count separately.

    Closed connections do not count as open.
    """
    async with Sandbox(5, latency=0.02) as sandbox:
        async with calling(sandbox) as caller:
            for _ in range(3):
                await caller.get()
            assert (sandbox.log.connections, sandbox.log.open_connections) == (1, 1)
            await asyncio.gather(*(caller.get() for _ in range(4)))
            assert (sandbox.log.connections, sandbox.log.open_connections) == (4, 4)
        async with calling(sandbox) as caller:
            sandbox.fail_next(Fault.drop())
            with pytest.raises(aiohttp.ClientError):
                await caller.get()
        await until(lambda: not sandbox.log.open_connections)
        assert sandbox.log.connections == 5


async def test_the_log_can_be_cleared(calling):
    """Clearing the log removes requests and closed connections, and keeps open connections."""
    async with Sandbox(5) as sandbox, calling(sandbox) as caller:
        await caller.get()
        sandbox.log.clear()
        assert (sandbox.log.requests, sandbox.log.connections) == ([], 1)
        assert sandbox.log.most_in_any(1.0) == sandbox.log.served == 0
        await caller.get()
        assert len(sandbox.log.requests) == 1
