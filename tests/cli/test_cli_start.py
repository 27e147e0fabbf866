"""Starting a command: imports, and the event loop."""

import asyncio
import sys

import pytest

from cekat_async.cli import ExitCode

# modules of the event loop
LIBRARY = "winloop" if sys.platform == "win32" else "uvloop"

# The modules that only a running command needs: network, terminal, databases, event loop.
AT_WORK = {
    "aiohttp",
    "asyncio",
    "duckdb",
    "pandas",
    "psycopg",
    "pyarrow",
    "rich",
    "sqlite3",
    "cekat_async.sandbox",
    LIBRARY,
}
EXPORT = {"cekat_async.export"}

NAMES_WHAT_IS_LOADED = """
import sys
from cekat_async.__main__ import main
code = main()
print("loaded:", *sys.modules)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments, code, unused",
    [
        (("--help",), 0, AT_WORK | EXPORT),
        (("--version",), 0, AT_WORK | EXPORT),
        *(
            ((command, "--help"), 0, AT_WORK | EXPORT)
            for command in ("export", "conversations", "inboxes", "doctor", "sandbox")
        ),
        ((), 2, AT_WORK | EXPORT),
        (("exprot",), 2, AT_WORK | EXPORT),
        (("export",), 2, AT_WORK | EXPORT),
        (("export", "x.jsonl", "--sandbx"), 2, AT_WORK | EXPORT),
        (("export", "x.jsonl", "--rate-limit", "many"), 2, AT_WORK | EXPORT),
        (("export", "x.jsonl", "--inbox", ""), 2, AT_WORK | EXPORT),
        (("conversations", "-n", "0"), 2, AT_WORK | EXPORT),
        (("conversations", "--columns", "agnt"), 2, AT_WORK | EXPORT),
        (("doctor", "--sandbox-size", "5"), 2, AT_WORK | EXPORT),
        (("conversations", "--sandbox-size", "5"), 2, AT_WORK | EXPORT),
        (("inboxes", "--profile", "nobodys"), 2, AT_WORK | EXPORT),
        (("sandbox", "--port", "70000"), 2, AT_WORK | EXPORT),
        (("export", "x.xlsx"), 2, AT_WORK),
        (("export", "x.csv", "--table", "t"), 2, AT_WORK),
    ],
)
def test_help_and_usage_errors_are_fast(ran, arguments, code, unused):
    """Help and usage errors import nothing that only a running command needs."""
    ended = ran(*arguments, script=NAMES_WHAT_IS_LOADED)
    loaded = {*ended.out.decode().rpartition("loaded: ")[2].split()}

    assert ended.code == code
    assert "cekat_async.cli.app" in loaded
    assert not loaded & unused


def test_commands_run_on_uvloop(cekat):
    """If uvloop is installed, commands use it, and ``-v`` says so."""
    pytest.importorskip(LIBRARY)
    ended = cekat("-v", "inboxes", "--sandbox", "--sandbox-size", "0")

    assert ended.code == ExitCode.DONE
    assert f"cekat: the event loop is that of {LIBRARY}\n" in ended.err


def test_commands_run_without_uvloop(cekat, monkeypatch):
    """Without uvloop, commands use asyncio's event loop, without a message."""
    monkeypatch.setitem(sys.modules, LIBRARY, None)
    verbose, silent = (cekat(*v, "inboxes", "--sandbox") for v in (("-v",), ()))

    assert verbose.code == silent.code == ExitCode.DONE
    assert "cekat: the event loop is that of asyncio\n" in verbose.err
    assert silent.err == ""


@pytest.mark.parametrize(
    "module, reason",
    [
        ("raise ImportError('no libuv.so.1')", "no libuv.so.1"),
        ("import surely_not_there", "No module named 'surely_not_there'"),
        ("raise AttributeError('no such policy')", "no such policy"),
        ("", "has no attribute 'new_event_loop'"),
    ],
)
def test_a_broken_uvloop_is_reported(cekat, monkeypatch, tmp_path, module, reason):
    """If uvloop is installed but broken, the command warns in one line and continues."""
    (tmp_path / f"{LIBRARY}.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, LIBRARY, raising=False)
    ended = cekat("inboxes", "--sandbox")
    monkeypatch.delitem(sys.modules, LIBRARY, raising=False)

    assert ended.code == ExitCode.DONE
    assert ended.err.startswith(f"cekat: {LIBRARY} is installed but fails to load (")
    assert ended.err.endswith(f"{reason}): using asyncio\n")
    assert len(ended.err.splitlines()) == 1
    assert len(ended.out.splitlines()) == 8


def test_a_command_leaves_other_loops_alone(cekat):
    """A command that runs inside a program does not change the program's event loops."""
    assert cekat("inboxes", "--sandbox").code == ExitCode.DONE
    with asyncio.Runner() as runner:
        assert type(runner.get_loop()).__module__.startswith("asyncio.")


AS_A_LIBRARY = """
import asyncio, sys
from cekat_async import CekatClient
from cekat_async.export import export_conversations
from cekat_async.sandbox import Sandbox

async def main():
    async with Sandbox(5) as sandbox:
        async with CekatClient(sandbox.api_key, base_url=sandbox.base_url) as client:
            await export_conversations(client, "x.jsonl")
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

print(asyncio.run(main()), "uvloop" in sys.modules or "winloop" in sys.modules)
"""


def test_the_library_leaves_the_loop_alone(ran, tmp_path):
    """In a Python program, the caller chooses the event loop, and the package imports none."""
    assert ran(script=AS_A_LIBRARY).out == b"asyncio False\n"
    assert (tmp_path / "x.jsonl").read_bytes().count(b"\n") == 5
