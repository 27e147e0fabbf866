"""The FastAPI example, as a stranger runs it: in a folder of its own, and under uvicorn."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession
from support.clock import until

from cekat_async import ConversationPage
from cekat_async.sandbox import Sandbox

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi"


@pytest.fixture
def folder(tmp_path):
    """A copy of the example."""
    return shutil.copytree(EXAMPLE, tmp_path / "fastapi", ignore=shutil.ignore_patterns("_*", ".*"))


def test_its_tests_pass(folder):
    """The tests of the copied example pass."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "passed" in ended.stdout


async def test_it_runs_under_uvicorn(folder):
    """The command of its docstring starts an app that answers real requests, and stops on TERM."""
    async with Sandbox(conversations=7, quota=None) as sandbox:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
        keys = {"CEKAT_API_KEY": sandbox.api_key, "CEKAT_BASE_URL": sandbox.base_url}
        server = subprocess.Popen(  # noqa: ASYNC220, S603 - our own example
            command, cwd=folder, env=os.environ | keys, stderr=subprocess.PIPE, text=True
        )
        try:
            async with ClientSession(f"http://127.0.0.1:{port}") as session:
                page = ConversationPage.from_json(await get(session, "/conversations", server))
                lines = (await get(session, "/conversations.jsonl", server)).splitlines()
        finally:
            server.terminate()
            _, log = server.communicate()

    assert len(page) == 7
    assert [json.loads(line)["id"] for line in lines] == page.ids
    assert server.returncode in {0, -15}
    assert sandbox.api_key not in log
    assert "Traceback" not in log


async def get(session, path, server):
    """Return the reply of the server, which may still be starting."""
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
