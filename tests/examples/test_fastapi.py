"""The FastAPI example, run like a user runs it: in its own folder, and under uvicorn."""

import json

from cekat_async import ConversationPage


def test_its_tests_pass(copy_example, test_example):
    """The tests of the copied example pass."""
    assert "passed" in test_example(copy_example("fastapi"))


async def test_it_runs_under_uvicorn(copy_example, serve, account):
    """The command in its docstring starts an app that answers real requests and stops on TERM."""
    async with serve(copy_example("fastapi"), "app:app") as get:
        page = ConversationPage.from_json(await get("/conversations"))
        lines = (await get("/conversations.jsonl")).splitlines()

    assert len(page) == 20
    assert [json.loads(line)["id"] for line in lines] == [key for key, _ in account.records()]
