"""Runs an example like its reader does: as a process, with an account in the environment."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession
from support.clock import until

from cekat_async.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def account():
    """A sandbox in a thread, with 250 conversations in 3 inboxes."""
    with Sandbox(250, 3, quota=None) as sandbox:
        yield sandbox


@pytest.fixture
def run_example(account, tmp_path):
    """A function that runs a file of ``examples/`` to its end, in an empty folder.

    The environment has the URL and the key of ``account``, and the scripts of this installation.
    A Python file is run with this Python, and any other file is executed directly.
    """
    paths = [sysconfig.get_path("scripts"), os.environ["PATH"]]
    environment = os.environ | {
        "CEKAT_BASE_URL": account.base_url,
        "CEKAT_API_KEY": account.api_key,
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join(paths),
        "PYTHONUTF8": "1",
    }

    def run_example(name, *arguments, **more):
        program = [sys.executable] if str(name).endswith(".py") else []
        return subprocess.run(  # noqa: S603 - our own examples
            [*program, str(EXAMPLES / name), *map(str, arguments)],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )

    return run_example


@pytest.fixture
def copy_example(tmp_path):
    """A function that copies a folder of ``examples/``, and returns the copy."""

    def copy_example(name):
        ignored = shutil.ignore_patterns("_*", ".*")
        return shutil.copytree(EXAMPLES / name, tmp_path / "copy" / name, ignore=ignored)

    return copy_example


@pytest.fixture
def test_example():
    """A function that runs the tests of a copied example, and returns their output."""

    def test_example(folder, options=""):
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=folder,
            env=os.environ | {"PYTEST_ADDOPTS": options},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return test_example


@pytest.fixture
def serve(account):
    """A function that runs an app under uvicorn, and yields a function that requests a path.

    Afterwards, the fixture stops the server, whose log must contain neither a traceback nor the
    key.
    """

    @asynccontextmanager
    async def serve(folder, app):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", app, "--port", str(port)]
        keys = {"CEKAT_API_KEY": account.api_key, "CEKAT_BASE_URL": account.base_url}
        server = subprocess.Popen(  # noqa: ASYNC220, S603 - our own example
            command, cwd=folder, env=os.environ | keys, stderr=subprocess.PIPE, text=True
        )
        try:
            async with ClientSession(f"http://127.0.0.1:{port}") as session:
                yield lambda path: get(session, path, server)
        finally:
            server.terminate()
            _, log = server.communicate()
        assert server.returncode in {0, -15}
        assert account.api_key not in log
        assert "Traceback" not in log

    return serve


async def get(session, path, server):
    """Return the reply of a server, which may still be starting."""
    found = []

    async def is_answered():
        assert server.poll() is None, server.stderr.read()
        try:
            async with session.get(path) as reply:
                found.append(await reply.read())
        except ClientConnectorError:
            return False
        return True

    while not await is_answered():
        await until(lambda: True)
    return found[0]
