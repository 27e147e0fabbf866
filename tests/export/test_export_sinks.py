"""Sinks: custom sinks, the order of their calls, and the thread in which they run."""

import asyncio
import threading

import msgspec
import pytest

from cekat_async import CekatError, ServerError, TargetError
from cekat_async.export import Manifest, Records, Sink, export_conversations, sink_for
from cekat_async.export.sinks.files.json_lines import JsonLinesSink
from cekat_async.sandbox import Fault


class Memory:
    """A custom sink that keeps records in memory, and fails in a chosen method."""

    def __init__(self, *, fails_at=None, error=None, checkpoint=None, replaces=False):
        self.target = "memory"
        self.checkpoint = checkpoint
        self.calls = []
        self.threads = set()
        self.batches = []
        self.kept = None
        self._replaces = replaces
        self._fails_at = fails_at
        self._error = error

    @property
    def records(self):
        return [record for batch in self.batches for record in batch]

    def open(self):
        self._note("open")

    def manifest(self):
        self._note("manifest")
        return self.kept

    def verify(self, manifest):
        self._note("verify")
        assert manifest is self.kept

    def stored(self):
        self._note("stored")
        return None if self._replaces else iter(list(self.batches))

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        self._note("publish")
        batches = list(records)
        assert sum(map(len, batches)) == len(records)
        assert batches == list(records)  # the records can be read any number of times
        self.batches = batches
        self._note("published")
        self.kept = msgspec.structs.replace(manifest, checksum="of my own")
        return self.kept

    def close(self):
        self._note("close")

    def _note(self, call):
        self.calls.append(call)
        self.threads.add(threading.current_thread())
        if call == self._fails_at:
            raise self._error


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, which must be empty after the test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


async def test_a_custom_sink(account):
    """A class with the six methods of a sink is opened, gets each record once, and is closed.

    The sink receives batches of about a page, in one thread that is not the event loop's.
    """
    sink: Sink = Memory()
    async with account(250) as a:
        report = await export_conversations(a.client, sink, page_size=20)

        assert sorted(sink.records) == sorted(a.lines().splitlines())
    assert sink.calls == ["open", "manifest", "publish", "published", "close"]
    assert (report.target, report.conversations) == ("memory", 250)
    assert report.manifest is sink.kept
    assert report.manifest.checksum == "of my own"
    assert {type(record) for record in sink.records} == {bytes}
    assert all(1 <= len(batch) <= 20 for batch in sink.batches)
    assert len(sink.threads) == 1
    assert sink.threads != {threading.main_thread()}


@pytest.mark.parametrize("replaces", [False, True])
async def test_changes_are_added_to_a_custom_sink(account, replaces):
    """A sink receives the new records, and also the old ones if its ``stored()`` returns them."""
    sink = Memory(replaces=replaces)
    async with account(250) as a:
        await export_conversations(a.client, sink, page_size=20)
        new = a.sandbox.create()
        old, sink.calls = sink.records, []
        report = await export_conversations(a.client, sink, page_size=20, incremental=True)

        record = a.sandbox.record(new)
        assert record in sink.records
        if replaces:
            assert len(sink.records) == report.conversations < 100
        else:
            assert sorted(sink.records) == sorted(a.lines().splitlines())
            assert sorted(sink.records) == sorted([*old, record])
    assert sink.calls[:3] == ["open", "manifest", "verify"]
    assert sink.calls[-1] == "close"
    assert report.manifest.incremental
    assert report.manifest.conversations == len(sink.records)


ERRORS = [TargetError("the database has gone"), ValueError("a fault of the sink's own")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("fails_at", ["open", "manifest", "publish", "published"])
async def test_a_sink_that_fails_is_closed(account, fails_at, error):
    """If a method of a sink fails, ``close`` is called, and then the error is raised."""
    sink = Memory(fails_at=fails_at, error=error)
    async with account(250) as a:
        with pytest.raises(type(error)) as caught:
            await export_conversations(a.client, sink)

        assert bool(a.sandbox.log.requests) == fails_at.startswith("publish")
    assert caught.value is error
    order = ["open", "manifest", "publish", "published"]
    assert sink.calls == [*order[: order.index(fails_at) + 1], "close"]


@pytest.mark.parametrize("fails_at", ["verify", "stored"])
async def test_a_sink_that_cannot_be_added_to_is_closed(account, fails_at):
    """If an export cannot add to a sink, the sink's error is raised, and nothing is published."""
    error = TargetError("somebody has changed it")
    sink = Memory()
    async with account(250) as a:
        await export_conversations(a.client, sink)
        sink.calls, sink._fails_at, sink._error = [], fails_at, error
        with pytest.raises(TargetError) as caught:
            await export_conversations(a.client, sink, incremental=True)

    assert caught.value is error
    assert sink.calls[-1] == "close"
    assert "publish" not in sink.calls


async def test_a_sink_that_failed_to_publish_is_given_all_again(account, tmp_path):
    """With a permanent checkpoint, the next run publishes the records without new requests."""
    place = tmp_path / "x.checkpoint"
    sink = Memory(fails_at="published", error=TargetError("no"), checkpoint=place)
    async with account(250) as a:
        with pytest.raises(TargetError):
            await export_conversations(a.client, sink)
        assert place.exists()
        first, before = sink.records, len(a.sandbox.log.requests)
        sink._fails_at = None
        report = await export_conversations(a.client, sink)

        # The export only asks whether anything changed in between.
        assert len(a.sandbox.log.requests) - before <= 2
        assert sorted(sink.records) == sorted(first) == sorted(a.lines().splitlines())
    assert not place.exists()
    assert (report.manifest.runs, report.resumed) == (2, 350)


async def test_a_sink_is_closed_when_the_server_fails(account):
    """If a request fails for good, the sink is closed and ``publish`` is not called."""
    sink = Memory()
    async with account(250, attempts=1) as a:
        a.sandbox.fail_next(Fault.ok(), Fault.ok(), Fault.status(500))
        with pytest.raises(ServerError, match="HTTP 500"):
            await export_conversations(a.client, sink)

    assert sink.calls == ["open", "manifest", "close"]


async def test_a_sink_is_closed_when_cancelled(account):
    """A cancelled export closes its sink before it raises the cancellation."""
    sink = Memory()
    async with account(250) as a:
        export = asyncio.ensure_future(
            export_conversations(a.client, sink, on_progress=lambda _: export.cancel())
        )
        await asyncio.wait([export])

    assert export.cancelled()
    assert sink.calls == ["open", "manifest", "close"]


async def test_without_a_place_the_checkpoint_is_a_temporary_file(account, temporary):
    """A sink without a path has a temporary checkpoint, and no later run resumes from it."""
    seen = set()
    sink = Memory()
    async with account(250, attempts=1) as a:
        a.sandbox.fail_next(*[Fault.ok()] * 3, Fault.status(500))
        for _ in range(2):
            try:
                await export_conversations(
                    a.client,
                    sink,
                    page_size=20,
                    concurrency=1,
                    on_progress=lambda progress: seen.add((*temporary.iterdir(), progress.resumed)),
                )
            except CekatError:
                assert list(temporary.iterdir()) == []

    # The checkpoint's file has no name and vanishes with the process, so each run starts empty.
    assert seen == {(0,)}
    assert sink.kept.runs == 1


async def test_a_place_for_the_checkpoint_may_be_given(account, tmp_path):
    """With ``checkpoint=``, an export to a sink without a path can be resumed."""
    place = tmp_path / "anywhere"
    sink = Memory()
    async with account(250, attempts=1) as a:
        a.sandbox.fail_next(*[Fault.ok()] * 3, Fault.status(500))
        with pytest.raises(ServerError):
            await export_conversations(a.client, sink, page_size=20, checkpoint=place)
        assert place.exists()
        report = await export_conversations(a.client, sink, page_size=20, checkpoint=str(place))

        assert sorted(sink.records) == sorted(a.lines().splitlines())
    assert (report.manifest.runs, report.resumed > 0) == (2, True)
    assert not place.exists()


async def test_a_long_publishing_is_stopped_by_a_cancellation(account):
    """If the export is cancelled, the iterator of records ends, and the sink can clean up."""
    began, seen = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    class Long(Memory):
        def publish(self, records, manifest):
            loop.call_soon_threadsafe(began.set)
            try:
                while True:  # never ends by itself
                    list(records)
            except BaseException as error:
                seen.append(error)
                raise

    sink = Long()
    async with account(50) as a:
        export = asyncio.create_task(export_conversations(a.client, sink))
        await began.wait()
        export.cancel()
        await asyncio.wait([export])

    assert export.cancelled()
    assert len(seen) == 1
    assert not isinstance(seen[0], Exception)
    assert sink.calls == ["open", "manifest", "close"]


def test_the_name_chooses_the_sink(tmp_path):
    """``sink_for`` returns the sink for a target's name, and returns a given sink unchanged."""
    sink: Sink = sink_for(tmp_path / "x.jsonl")

    assert isinstance(sink, JsonLinesSink)
    assert sink.target == str(tmp_path / "x.jsonl")
    assert sink.checkpoint == tmp_path / "x.jsonl.checkpoint"
    own = Memory()
    assert sink_for(own) is own
