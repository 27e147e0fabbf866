"""Starting and stopping sandboxes, even several at the same time."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import threading
from contextlib import suppress

import aiohttp
import pytest
from support.clock import until

from cekat_async.sandbox import Fault, Quota, Sandbox


async def test_it_has_an_address_when_it_runs(calling):
    """Before the start, reading the address raises an error with advice.

    After the end, nothing listens at that address.
    """
    sandbox = Sandbox(5)
    with pytest.raises(RuntimeError, match="async with"):
        sandbox.base_url  # noqa: B018 - the property is what raises
    async with sandbox as entered:
        assert entered is sandbox
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        async with calling(sandbox) as caller:
            assert (await caller.get())[0] == 200
    async with calling(sandbox) as caller:
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.get()


async def test_it_is_entered_once():
    """A sandbox cannot be entered a second time, either while it runs or later."""
    sandbox = Sandbox(5)
    async with sandbox:
        with pytest.raises(RuntimeError, match="once"):
            await sandbox.__aenter__()
    with pytest.raises(RuntimeError, match="once"):
        await sandbox.__aenter__()


async def test_a_port_can_be_chosen_and_a_taken_one_is_an_error():
    """The given ``port`` is used. If another server has that port, the system's error is raised."""
    async with Sandbox(5) as first:
        port = int(first.base_url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            await Sandbox(5, port=port).__aenter__()
    async with Sandbox(5, port=port) as second:
        assert second.base_url == first.base_url


@pytest.mark.parametrize(
    "fault",
    [Fault.hang(), Fault.delay(3600.0), Fault.trickle(3600.0)],
    ids=lambda fault: fault.name,
)
async def test_closing_waits_for_nobody_and_leaves_nothing(calling, fault):
    """Closing ends open requests and idle connections, and leaves no task or connection."""
    before = asyncio.all_tasks()
    sandbox = await Sandbox(50).__aenter__()
    async with calling(sandbox) as caller:
        await asyncio.gather(caller.get(), caller.get())
        sandbox.fail_next(*[fault] * 3)
        open_ = [asyncio.create_task(caller.get()) for _ in range(3)]
        await until(lambda: len(sandbox.log.requests) == 5)
        async with asyncio.timeout(30):  # aiohttp itself would wait a minute
            await sandbox.__aexit__(None, None, None)
        assert asyncio.all_tasks() - before <= set(open_)
        outcomes = await asyncio.gather(*open_, return_exceptions=True)
        assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes)
    assert sandbox.log.open_connections == 0
    gc.collect()


async def test_closing_in_the_moment_of_a_connection_loses_no_socket():
    """Connections that are just being accepted are closed too.

    A connection that is left open would cause a warning.
    """
    for turns in range(12):
        sandbox = Sandbox(5)
        async with sandbox:
            port = int(sandbox.base_url.rsplit(":", 1)[1])
            connecting = asyncio.create_task(asyncio.open_connection("127.0.0.1", port))
            for _ in range(turns):
                await asyncio.sleep(0)
        with suppress(OSError):
            _, writer = await connecting
            writer.close()
            await writer.wait_closed()
        gc.collect()


async def test_many_sandboxes_are_independent(calling):
    """Each sandbox has its own data, quota, script and log."""
    async with Sandbox(20, seed=1, quota=Quota(1)) as one, Sandbox(20, seed=2) as two:
        one.fail_next(Fault.status(500))
        async with calling(one) as first, calling(two) as second:
            assert (await second.get())[0] == 200
            assert (await first.get())[0] == 500
            assert (await first.get())[0] == 429
            assert [(await second.get())[0] for _ in range(3)] == [200] * 3
        assert (len(one.log.requests), len(two.log.requests)) == (2, 4)
        assert not {id_ for id_, _ in one.records()} & {id_ for id_, _ in two.records()}


def test_sandboxes_run_in_several_loops_and_threads_at_once():
    """Each thread with its own loop has its own sandbox, and all are served."""
    served = []

    async def serve():
        async with Sandbox(200) as sandbox, aiohttp.ClientSession(sandbox.base_url) as session:
            headers = {"Authorization": f"Bearer {sandbox.api_key}"}
            for _ in range(10):
                async with session.get("/api/conversations?limit=50", headers=headers) as reply:
                    await reply.read()
            served.append(sandbox.log.served)

    threads = [threading.Thread(target=asyncio.run, args=(serve(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served == [10, 10, 10]


async def test_its_curl_line_works():
    """The curl line prints a page when it is run in a shell."""
    async with Sandbox(20) as sandbox:
        line = sandbox.curl("limit=3").replace("curl ", "curl --silent ", 1)
        try:
            process = await asyncio.create_subprocess_shell(line, stdout=subprocess.PIPE)
        except OSError:
            pytest.skip("no shell here")
        out, _ = await process.communicate()
    if process.returncode == 127:
        pytest.skip("no curl here")
    assert len(json.loads(out)["data"]) == 3
