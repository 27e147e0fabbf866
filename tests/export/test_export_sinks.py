"""Sinks: the order they are called in, one's own among them, and where files are written."""

import asyncio
import threading

import pytest

from cekat_async import TargetError
from cekat_async.export import JsonLinesSink, Sink, export_conversations, json_line, sink_for
from cekat_async.sandbox import Fault


class Witness:
    """A sink of one's own: it writes down what it is asked for, and fails where it is told to."""

    target = "memory"
    unfinished = None

    def __init__(self, fails_at=None, error=None):
        self.calls = []
        self.records = []
        self._fails_at = fails_at
        self._error = error

    async def open(self):
        await self._note("open")

    async def write(self, page):
        await self._note("write")
        self.records += [bytes(raw) for raw in page.raw]

    async def finish(self):
        await self._note("finish")

    async def abort(self):
        await self._note("abort")

    async def _note(self, call):
        self.calls.append(call)
        await asyncio.sleep(0)
        if len(self.calls) - 1 == self._fails_at:
            raise self._error


async def test_a_sink_of_ones_own(account):
    """Any class with the four methods is a sink: opened, written page by page, finished."""
    sink = Witness()
    async with account(250) as a:
        report = await export_conversations(a.client, sink)

        assert b"".join(record + b"\n" for record in sink.records) == a.lines()
    assert sink.calls == ["open", "write", "write", "write", "finish"]
    assert report.target == "memory"


@pytest.mark.parametrize("fails_at", range(5))
async def test_a_sink_that_fails_is_let_go_of(account, fails_at):
    """Whatever a sink fails at, its error comes out, ``abort`` comes next and nothing after it."""
    error = TargetError("the database has gone")
    sink = Witness(fails_at, error)
    async with account(250) as a:
        with pytest.raises(TargetError) as caught:
            await export_conversations(a.client, sink)

    assert caught.value is error
    assert sink.calls == [*["open", "write", "write", "write", "finish"][: fails_at + 1], "abort"]


async def test_a_sink_is_let_go_of_when_the_server_fails(account):
    """A request that fails for good ends in ``abort`` and never in ``finish``."""
    sink = Witness()
    async with account(250, attempts=1) as a:
        a.sandbox.fail_next(Fault.ok(), Fault.status(500))
        with pytest.raises(Exception, match="HTTP 500"):
            await export_conversations(a.client, sink)

    assert sink.calls == ["open", "write", "abort"]


async def test_a_sink_that_does_not_open_costs_no_request(account):
    """No request is spent on a sink that cannot take what it brings."""
    async with account() as a:
        with pytest.raises(TargetError):
            await export_conversations(a.client, Witness(0, TargetError("no")))

        assert a.sandbox.log.requests == []


async def test_files_are_written_in_a_thread_of_their_own(account, target):
    """Not the event loop's thread writes the file, and always the same one does."""
    threads = set()

    class Watched(JsonLinesSink):
        def _append(self, page):
            threads.add(threading.current_thread())
            return super()._append(page)

    async with account(500) as a:
        await export_conversations(a.client, Watched(target))

    assert len(threads) == 1
    assert threads != {threading.main_thread()}


async def test_a_slow_disk_does_not_stop_the_event_loop(account, target):
    """While a page is written other tasks of the event loop go on."""
    may_go_on = threading.Event()

    class Slow(JsonLinesSink):
        def _append(self, page):
            # Only the event loop can set it: if it were blocked, this would time out.
            assert may_go_on.wait(20)
            return super()._append(page)

    async with account(5) as a:
        export = asyncio.create_task(export_conversations(a.client, Slow(target)))
        await asyncio.sleep(0.005)
        may_go_on.set()
        await export

        assert target.read_bytes() == a.lines()


def test_the_name_chooses_the_sink(tmp_path):
    """``sink_for`` returns a sink of the package's protocol for the name."""
    sink: Sink = sink_for(tmp_path / "x.jsonl")

    assert isinstance(sink, JsonLinesSink)
    assert sink.target == str(tmp_path / "x.jsonl")
    assert sink.unfinished is None


@pytest.mark.parametrize(
    "record, line",
    [
        (b"{}", b"{}\n"),
        (b'{"a":\n  1}', b'{"a":  1}\n'),
        (b'{\r\n"a":"\\n\\r"\r\n}', b'{"a":"\\n\\r"}\n'),
    ],
)
def test_a_record_as_a_line(record, line):
    """Only line breaks between tokens are left away; escaped ones are no line breaks."""
    assert json_line(record) == line
