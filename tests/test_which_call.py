"""The table of calls for newcomers. Each of its calls runs unchanged."""

import ast
import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest

import cekat_async
from cekat_async import CekatClient, Position, RateLimit, Timeout
from cekat_async.cli.app import app
from cekat_async.export import export_conversations
from cekat_async.frames import to_pandas
from cekat_async.sandbox import Sandbox

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "which-call.md"
CALL = re.compile(r"^\| [^|]+ \| `([^`]+)`", re.MULTILINE)
CALLS = CALL.findall(PAGE.read_text(encoding="utf-8"))
PYTHON = [call for call in CALLS if not call.startswith("cekat ")]


@pytest.fixture
async def names(tmp_path, monkeypatch):
    """The names that the table uses."""
    monkeypatch.chdir(tmp_path)
    async with (
        Sandbox(conversations=250, quota=None) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as cekat,
    ):
        monkeypatch.setenv("CEKAT_API_KEY", sandbox.api_key)
        page = await cekat.conversations.page(limit=1)
        yield {
            "CekatClient": CekatClient,
            "RateLimit": RateLimit,
            "Timeout": Timeout,
            "cekat": cekat,
            "cursor": page.next_cursor,
            "export_conversations": export_conversations,
            "inbox_id": page[0].inbox_id,
            "positions": {None: Position()},
            "timedelta": timedelta,
            "to_pandas": to_pandas,
        }


@pytest.mark.parametrize("call", PYTHON)
async def test_the_call_runs(call, names):
    """If a newcomer copies the call, it returns a result and raises no error."""
    source = f"{call} print(end='')" if call.endswith(":") else call
    code = compile(source, "<call>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    result = eval(code, names)  # noqa: S307 - our own documentation
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("call", [call for call in CALLS if call not in PYTHON])
def test_the_command_exists(call):
    """The command line has each command and option of the table."""
    _, command, *words = call.split()
    known = {option for one in app.commands[command].params for option in one.opts}

    assert {word for word in words if word.startswith("-")} <= known


def test_the_table_is_complete():
    """Every way to read a listing is in the table."""
    text = "\n".join(CALLS)
    ways = [name for name in vars(cekat_async.Listing) if not name.startswith("_")]

    assert len(CALLS) > 20
    assert [way for way in ways if way not in {"aclose", "record_type"} and way not in text] == []
