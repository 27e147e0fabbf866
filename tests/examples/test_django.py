"""The Django example, run like a user runs it: in its own folder, and under uvicorn."""

import json
import os
import subprocess
import sys

from cekat_async import ConversationPage


def test_its_tests_pass(copy_example, test_example):
    """The tests of the copied example pass."""
    assert "passed" in test_example(copy_example("django"))


async def test_it_runs_under_uvicorn(copy_example, serve, account):
    """The command in its docstring starts an app that answers real requests and stops on TERM."""
    async with serve(copy_example("django"), "django_app:application") as get:
        page = ConversationPage.from_json(await get("/conversations"))
        lines = (await get("/conversations.jsonl")).splitlines()

    assert len(page) == 20
    assert [json.loads(line)["id"] for line in lines] == [key for key, _ in account.records()]


def test_it_does_not_start_without_a_key(copy_example, tmp_path):
    """The server exits, and its log says what is missing. It never answers requests with 500."""
    started = subprocess.run(
        [sys.executable, "-m", "uvicorn", "django_app:application", "--port", "0"],
        cwd=copy_example("django"),
        env={name: value for name, value in os.environ.items() if not name.startswith("CEKAT_")}
        | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert started.returncode == 3
    assert "CEKAT_API_KEY" in started.stderr
    assert "Traceback" not in started.stderr
