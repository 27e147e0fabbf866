"""A sandbox in its own thread, for synchronous code and for changes from other threads."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from cekat_async.sandbox import Fault, FaultInjector, Quota, Sandbox


def get(sandbox, path="/api/conversations?limit=100"):
    """Send a request from synchronous code."""
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {sandbox.api_key}"})
        reply = connection.getresponse()
        return reply.status, dict(reply.headers), reply.read()
    finally:
        connection.close()


def get_threads():
    return {thread.name for thread in threading.enumerate()}


def test_synchronous_code_can_use_it():
    """``with`` runs the sandbox until the end of the block.

    After the block, its thread and connections are gone.
    """
    with Sandbox(5) as sandbox:
        assert get(sandbox)[0] == 200
        assert "cekat-sandbox" in get_threads()
    assert "cekat-sandbox" not in get_threads()
    assert sandbox.log.open_connections == 0
    with pytest.raises(OSError):  # noqa: PT011 - its text depends on the system
        get(sandbox)


async def test_it_runs_next_to_an_event_loop():
    """``with`` also works inside a coroutine, and does not change the caller's loop."""
    loop = asyncio.get_running_loop()
    with Sandbox(5) as sandbox:
        assert (await asyncio.to_thread(get, sandbox))[0] == 200
    assert asyncio.get_event_loop() is loop


def test_a_start_that_fails_leaves_no_thread():
    """If the start fails, the error is the same as with ``async with``."""
    with Sandbox(5) as first:
        port = int(first.base_url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            Sandbox(5, port=port).__enter__()
        with pytest.raises(RuntimeError, match="once"):
            first.__enter__()
    assert "cekat-sandbox" not in get_threads()


def test_a_request_that_hangs_ends_with_it():
    """The end of the ``with`` block does not wait for replies."""
    with ThreadPoolExecutor() as pool, Sandbox(5) as sandbox:
        FaultInjector(sandbox).no_reply()
        hanging = pool.submit(get, sandbox)
        while not sandbox.log.requests:
            time.sleep(0.001)
    assert isinstance(hanging.exception(), (OSError, http.client.HTTPException))


def test_changes_from_another_thread_are_atomic():
    """No page shows half of a change: each page has every conversation once."""
    with Sandbox(90, quota=None) as sandbox, ThreadPoolExecutor() as pool:
        everything = {id_ for id_, _ in sandbox.records()}
        pages = [pool.submit(get, sandbox) for _ in range(40)]
        ids = sorted(everything)
        moved = 0
        while not all(page.done() for page in pages):
            sandbox.touch(ids[moved % len(ids)])
            sandbox.assign(ids[moved * 7 % len(ids)], "Dewi")
            moved += 1
        for page in pages:
            shown = [row["id"] for row in json.loads(page.result()[2])["data"]]
            assert len(shown) == len(set(shown)) == 90
            assert set(shown) == everything


def test_a_quota_can_be_used_from_another_thread():
    """``take`` uses the clock of the sandbox's own loop, and returns after it has taken quota."""
    with Sandbox(5, quota=Quota(3, 3600.0, window="first_hit")) as sandbox:
        assert sandbox.take(2) == 2
        assert [get(sandbox)[0] for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("quota", [None, Quota(10), Quota(10, per_day=50)])
def test_a_day_can_be_used_up(quota):
    """Until the day ends, each request gets the API's refusal, which says when the day ends."""
    with Sandbox(5, quota=quota) as sandbox:
        faults = FaultInjector(sandbox)
        faults.exhaust_daily_quota(7200.0)
        status, headers, body = get(sandbox)
        assert (status, json.loads(body)["error"]["code"]) == (429, "DAILY_LIMIT_EXCEEDED")
        assert 7000 < int(headers["Retry-After"]) <= 7200
        assert headers.get("X-RateLimit-Remaining") == (None if quota is None else "0")
        assert sandbox.take(1) == 0
        faults.clear()
        assert get(sandbox)[0] == 200


def test_a_day_can_be_used_up_before_the_sandbox_runs():
    """If the day is used up before the sandbox runs, its first reply is a refusal."""
    sandbox = Sandbox(5)
    sandbox.exhaust_daily_quota(7200)
    with sandbox:
        assert get(sandbox)[0] == 429


def test_a_used_up_day_ends():
    """After the given time, requests are granted again."""
    with Sandbox(5) as sandbox:
        sandbox.exhaust_daily_quota(1e-6)
        assert get(sandbox)[0] == 200
        with pytest.raises(ValueError, match="seconds"):
            sandbox.exhaust_daily_quota(0)


def test_faults_have_names():
    """Each method makes the given number of requests fail, in the order of the calls."""
    with Sandbox(5, quota=None) as sandbox:
        faults = FaultInjector(sandbox)
        faults.status(429, retry_after=2.5)
        faults.status(503, count=2)
        faults.slow_reply(0.001)
        faults.add(Fault.raw(418))
        replies = [get(sandbox) for _ in range(6)]
        assert [status for status, _, _ in replies] == [429, 503, 503, 200, 418, 200]
        assert replies[0][1]["Retry-After"] == "2.5"
        assert "Retry-After" not in replies[1][1]
        assert [seen.fault for seen in sandbox.log.requests[3:]] == ["delay", "raw", None]
        for break_connection in (faults.drop_connection, faults.drop_mid_body):
            break_connection()
            with pytest.raises((OSError, http.client.HTTPException)):
                get(sandbox)
        faults.drop_connection(count=5)
        faults.clear()
        assert get(sandbox)[0] == 200
        with pytest.raises(ValueError, match="count"):
            faults.status(500, count=0)


@pytest.mark.parametrize("conversations", [0, 3])
def test_a_malformed_record_is_one_more(conversations):
    """The malformed record is the first of its page and has no id.

    All other records and replies stay the same.
    """
    with Sandbox(conversations, inboxes=1, quota=None) as sandbox:
        faults = FaultInjector(sandbox)
        usual = json.loads(get(sandbox)[2])
        faults.malformed_record(count=2)
        damaged = json.loads(get(sandbox)[2])
        assert damaged["data"].pop(0)["id"] is None
        assert damaged == usual
        assert json.loads(get(sandbox, "/nowhere")[2])["error"]["code"] == "NOT_FOUND"
