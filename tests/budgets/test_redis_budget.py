"""A Redis budget whose server fails, restarts, hangs or refuses commands."""

import asyncio
import socket
import time
import traceback

import pytest

from cekat_async import ConfigurationError
from cekat_async.budgets import RedisBudget

KEY = "cekat_async:budget:cekat"


def shown(error):
    """Return everything that an error shows: its text, traceback, causes and contexts."""
    assert error.__cause__ is None
    assert error.__context__ is None
    return "".join(traceback.format_exception(error)) + repr(error)


async def test_a_server_that_is_down_and_returns(server):
    """While the server is down, a take raises an error.

    When the server is up again, the same budget works.
    """
    where = f"^redis://127.0.0.1:{server.port}/0: .*"
    async with RedisBudget(server.url) as budget:
        for _ in range(2):
            for _ in range(2):
                with pytest.raises(ConnectionError, match=where):
                    await budget.take(2, 60.0)
            server.start()
            assert (await budget.take(2, 60.0)).wait == 0.0
            server.kill()


async def test_a_server_that_is_killed_during_takes(server):
    """Takes that are in flight when the server dies succeed or raise a documented error."""
    server.start()
    async with RedisBudget(server.url) as budget:
        tasks = [asyncio.create_task(budget.take(10_000, 60.0)) for _ in range(200)]
        await asyncio.sleep(0.01)
        server.kill()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        server.start()

        failed = [result for result in results if isinstance(result, Exception)]
        assert failed
        assert all(isinstance(error, OSError) for error in failed)
        assert (await budget.take(10_000, 60.0)).wait == 0.0


async def test_a_restart_that_nobody_saw_is_noticed(server):
    """If the server restarts between two takes, the empty budget is reported once."""
    server.start()
    async with RedisBudget(server.url) as budget:
        await budget.take(1, 60.0)
        server.kill()
        server.start()
        with pytest.raises(
            ConnectionError, match="the server was restarted and may have lost the counts"
        ):
            await budget.take(2, 60.0)

        assert (await budget.take(2, 60.0)).wait == 0.0


async def test_a_connection_that_was_idle_may_be_gone(shared_server):
    """If the server closes an idle connection, the budget replaces it without an error."""
    async with RedisBudget(shared_server.url) as budget:
        await budget.take(2, 60.0)
        shared_server.ask("CLIENT", "KILL", "TYPE", "normal")

        assert (await budget.take(2, 60.0)).wait == 0.0
        assert (await budget.take(2, 60.0)).wait > 0


async def test_a_silent_server_is_given_up():
    """If the server accepts connections but never replies, every take ends after one timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        async with RedisBudget(url, timeout=0.2) as budget:
            takes = (budget.take(1, 60.0) for _ in range(5))
            results = await asyncio.gather(*takes, return_exceptions=True)

            assert all(isinstance(error, TimeoutError) for error in results)
            assert "did not answer within 0.2 s" in str(results[0])


async def test_a_paused_server_is_waited_for(shared_server):
    """A late reply makes one take fail. The next take gets its own reply."""
    async with RedisBudget(shared_server.url, timeout=2.0) as budget:
        await budget.take(3, 60.0)
        shared_server.ask("CLIENT", "PAUSE", 600_000, "WRITE")
        with pytest.raises(TimeoutError):
            await budget.take(3, 60.0)
        shared_server.ask("CLIENT", "UNPAUSE")

        assert (await budget.take(3, 60.0)).wait == 0.0


async def test_a_wrong_password_is_an_error_that_does_not_show_it(server):
    """A wrong password raises PermissionError, the right one works, and neither is shown."""
    server.start()
    server.ask("CONFIG", "SET", "requirepass", "p@ss/w#rd?")
    for secret in ("wr0ng-secret", ""):
        url = server.url.replace("redis://", f"redis://:{secret}@" if secret else "redis://")
        async with RedisBudget(url) as budget:
            with pytest.raises(PermissionError, match="refused the user") as caught:
                await budget.take(1, 60.0)
        assert "wr0ng" not in shown(caught.value) + repr(budget)
    url = server.url.replace("redis://", "redis://:p%40ss%2Fw%23rd%3F@")
    async with RedisBudget(url) as budget:
        assert (await budget.take(1, 60.0)).wait == 0.0
        assert repr(budget) == f"RedisBudget({server.url!r}, name='cekat')"


async def test_a_server_that_repeats_what_it_was_sent():
    """A reply that contains the password, which old servers may send, is not shown."""

    async def echo(reader, writer):
        while await reader.read(1000):
            writer.write(b"-ERR unknown command `HELLO`, args: `3`, `AUTH`, `s3cret-word`\r\n" * 9)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        async with RedisBudget(f"redis://me:s3cret-word@127.0.0.1:{port}") as budget:
            with pytest.raises(OSError, match=f"redis://127.0.0.1:{port}/0") as caught:
                await budget.take(1, 60.0)

    assert "s3cret" not in shown(caught.value) + repr(budget)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        b"redis://127.0.0.1",
        "http://127.0.0.1",
        "redis://:s3cr3t/more@127.0.0.1:6379/0",
        "redis://:12/s3cr3t@127.0.0.1:6379/0",
        "redis://:s3cr3t#more@127.0.0.1:6379/0",
        "redis://:12?s3cr3t@127.0.0.1:6379/0",
        "redis://:s3cr3t@127.0.0.1:port/0",
        "redis://:s3cr3t@127.0.0.1:6379/0?socket_timeout=s3cr3t",
        "redis://:s3cr3t@127.0.0.1:6379/0?no_such_option=s3cr3t",
        "redis://:s3cr3t@[127.0.0.1:6379/0",
        "redis://:s3cr3t\n@127.0.0.1:6379/0",
    ],
)
def test_wrong_urls_are_refused_and_not_shown(url):
    """The constructor raises an error for an invalid URL and does not show its password."""
    with pytest.raises(ConfigurationError, match=r"^url must look like redis://") as caught:
        RedisBudget(url)

    assert "s3cr3t" not in str(caught.value) + repr(caught.value.__context__)


@pytest.mark.parametrize(
    "url,where",
    [
        ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
        ("redis://me:pw@host:1/7", "redis://host:1/7"),
        ("redis://host?password=pw&db=3", "redis://host:6379/3"),
        ("rediss://me:pw@host/1", "rediss://host:6379/1"),
        ("unix://me:pw@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
    ],
)
def test_a_url_is_shown_without_secrets(url, where):
    """A budget's ``repr`` has the server's address, but no user, password or option."""
    assert repr(RedisBudget(url, name="x")) == f"RedisBudget({where!r}, name='x')"


async def test_a_clock_that_is_set_back_forgets_nothing(shared_server):
    """Takes that seem to be in the future, by the server's clock, count as if taken now."""
    ahead = int(time.time() * 1000) + 86_400_000
    for number in range(3):
        shared_server.ask("ZADD", KEY, ahead + number, f"taken {number}")
    async with RedisBudget(shared_server.url) as budget:
        assert (await budget.take(4, 60.0)).wait == 0.0
        assert 50.0 < (await budget.take(4, 60.0)).wait <= 60.001


async def test_a_log_expires(shared_server):
    """A budget uses one small key, which the server deletes when its takes no longer count."""
    shared_server.ask("ZADD", KEY, int((time.time() - 61) * 1000), "old")
    async with RedisBudget(shared_server.url) as budget:
        await budget.take(9, 0.5)
        assert 50_000 < shared_server.ask("PTTL", KEY) <= 60_001
        await budget.take(9, 3600.0)
        assert 3_500_000 < shared_server.ask("PTTL", KEY) <= 3_600_001

    assert shared_server.ask("KEYS", "*") == [KEY.encode()]
    assert shared_server.ask("ZCARD", KEY) == 2


async def test_a_server_that_has_something_else_there(shared_server):
    """If the key has another type, a take raises ConnectionError with the server's error code."""
    shared_server.ask("SET", KEY, "something else")
    async with RedisBudget(shared_server.url) as budget:
        with pytest.raises(ConnectionError, match="returned an error: ResponseError"):
            await budget.take(1, 60.0)


async def test_a_user_who_may_not_see_the_server(shared_server):
    """A user with only the rights that a budget needs can take."""
    rules = ["~cekat_async:*", "-@all", "+@sortedset", "+@scripting", "+time", "+pexpire"]
    shared_server.ask("ACL", "SETUSER", "little", "on", ">pw", *rules)
    async with RedisBudget(shared_server.url.replace("//", "//little:pw@")) as budget:
        assert (await budget.take(1, 60.0)).wait == 0.0
        assert (await budget.take(1, 60.0)).wait > 0


async def test_one_connection_is_used(shared_server):
    """Tasks share one connection, even after some of them were cancelled."""
    async with RedisBudget(shared_server.url, name="one") as budget:
        before = shared_server.ask("CLIENT", "LIST").count(b"id=")
        for _ in range(5):
            tasks = [asyncio.create_task(budget.take(9999, 60.0)) for _ in range(20)]
            await asyncio.sleep(0.002)
            tasks[0].cancel()
            tasks[7].cancel()
            await asyncio.wait(tasks)

        assert shared_server.ask("CLIENT", "LIST").count(b"id=") <= before + 1


def test_a_budget_belongs_to_one_event_loop(shared_server):
    """A take in another event loop raises an error and has no effect."""
    budget = RedisBudget(shared_server.url, name="loops")
    with asyncio.Runner() as first:
        assert first.run(budget.take(9, 60.0)).wait == 0.0
        with pytest.raises(ConfigurationError, match="another event loop"), asyncio.Runner() as two:
            two.run(budget.take(9, 60.0))
        assert first.run(budget.take(9, 60.0)).wait == 0.0
        first.run(budget.aclose())
