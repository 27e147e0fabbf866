"""The events, spans and metrics of an export."""

import asyncio

import pytest
from support.clock import until
from support.otel import account, get_events
from support.parts import make_client

from cekat_async import (
    CallBegun,
    CallFailed,
    HookEvent,
    InboxesFailedError,
    RetryPolicy,
    TargetError,
)
from cekat_async.export import (
    CatchUpBegun,
    ExportBegun,
    ExportEnded,
    ExportStepBegun,
    ExportStepEnded,
    PartitionEnded,
    export_conversations,
)
from cekat_async.sandbox import Fault, Live, Sandbox


@pytest.fixture
def events():
    """The events of exports."""
    return []


def keep(events):
    """Return a hook that stores the events of exports."""
    kinds = (
        *(CatchUpBegun, ExportBegun, ExportEnded, ExportStepBegun, ExportStepEnded),
        PartitionEnded,
    )
    return lambda event: events.append(event) if isinstance(event, kinds) else None


async def test_an_export_is_a_tree(recorded, events, tmp_path):
    """An export has two steps.

    A request is a child of the step that sends it, or of the export if no step does.
    """
    tracer = recorded.tracer_provider.get_tracer("the test")
    async with account(150, 3, hooks=[recorded.hook, keep(events)]) as (sandbox, client):
        with tracer.start_as_current_span("job"):
            await export_conversations(client, tmp_path / "x.jsonl", by_inbox=True)
            await client.conversations.page()

    above = {recorded.path(span).rpartition(" > ")[0] for span in recorded.named("listing")}
    assert above == {"job > export", "job > export > collect"}
    assert [recorded.path(span) for span in recorded.named("publish")] == ["job > export > publish"]
    assert recorded.path(recorded.named("page")[-1]) == "job > page"
    (export,), (collect,) = recorded.named("export"), recorded.named("collect")
    assert dict(export.attributes) == {
        "cekat.export.incremental": False,
        "cekat.export.by_inbox": True,
        "cekat.export.conversations": 150,
    }
    assert dict(collect.attributes) == {"cekat.records": 150}
    partitions = [attributes for name, attributes in get_events(collect) if name == "partition"]
    assert {one["cekat.inbox.id"] for one in partitions} == set(sandbox.inbox_ids)
    assert sum(one["cekat.records"] for one in partitions) == 150
    assert recorded.total("cekat.export.partitions") == 3
    assert recorded.total("cekat.export.published") == 150
    assert recorded.total("cekat.export.duration") == 1
    assert [type(event) for event in events] == [
        ExportBegun,
        ExportStepBegun,
        *[PartitionEnded] * 3,
        ExportStepEnded,
        ExportStepBegun,
        ExportStepEnded,
        ExportEnded,
    ]
    assert len({event.export for event in events}) == 1
    assert [event.step for event in events if isinstance(event, ExportStepEnded)] == [
        "collect",
        "publish",
    ]
    assert [event.records for event in events if isinstance(event, ExportStepEnded)] == [150, 150]
    assert events[-1].conversations == 150
    assert events[-1].seconds >= sum(e.seconds for e in events if isinstance(e, ExportStepEnded))


async def test_catch_up_is_reported(recorded, events, tmp_path):
    """Each catch-up pass is reported with its partition and its number."""
    live = Live(messages=6, seed=3)
    async with account(600, 1, live=live, hooks=[recorded.hook, keep(events)]) as (_, client):
        await export_conversations(client, tmp_path / "x.jsonl", page_size=20, concurrency=1)

    passes = [event for event in events if isinstance(event, CatchUpBegun)]
    assert passes
    assert [event.number for event in passes] == [*range(1, len(passes) + 1)]
    assert {event.inbox_id for event in passes} == {None}
    assert recorded.total("cekat.export.catch_up.passes") == len(passes)
    (collect,) = recorded.named("collect")
    noted = [attributes for name, attributes in get_events(collect) if name == "catch-up"]
    assert noted == [{"cekat.catch_up.number": event.number} for event in passes]


async def test_an_inbox_that_failed(recorded, events, tmp_path):
    """A failed partition is reported with the class of its error, and without the error's text."""
    async with Sandbox(90, 3, quota=None) as sandbox:
        forbidden = sandbox.inbox_ids[1]
        sandbox.forbid(forbidden)
        async with make_client(sandbox, hooks=[recorded.hook, keep(events)]) as client:
            report = await export_conversations(client, tmp_path / "x.jsonl", by_inbox=True)

    assert not report.is_complete
    errors = {e.inbox_id: e.error for e in events if isinstance(e, PartitionEnded)}
    assert errors.pop(forbidden) == "PermissionDeniedError"
    assert set(errors.values()) == {None}
    assert recorded.total("cekat.export.partitions", type="PermissionDeniedError") == 1
    assert recorded.total("cekat.export.partitions") == 3


async def test_an_export_that_fails(recorded, events, tmp_path):
    """If an export fails while it collects, it ends with the error and reports no partition."""
    async with Sandbox(90, 3, quota=None) as sandbox:
        policy = RetryPolicy(attempts=1)
        async with make_client(sandbox, hooks=[recorded.hook, keep(events)], retry=policy) as c:
            await c.inboxes.page()
            sandbox.fail_next(Fault.delay(0), *[Fault.status(500)] * 3)
            with pytest.raises(InboxesFailedError):
                await export_conversations(c, tmp_path / "x.jsonl", by_inbox=True)

    (export,), (collect,) = recorded.named("export"), recorded.named("collect")
    for span in (export, collect):
        assert span.attributes["error.type"] == "InboxesFailedError"
        assert not span.status.is_ok
    assert recorded.named("publish") == []
    assert events[-1].error == "InboxesFailedError"
    assert events[-1].conversations == 0
    assert not any(isinstance(event, PartitionEnded) for event in events)
    assert recorded.total("cekat.export.duration", type="InboxesFailedError") == 1


async def test_an_export_that_cannot_write(recorded, events, tmp_path):
    """An export has a span even if it ends before its first step."""
    async with account(9, hooks=[recorded.hook, keep(events)]) as (_, client):
        with pytest.raises(TargetError):
            await export_conversations(client, tmp_path / "missing" / "x.jsonl")

    assert recorded.paths == ["export"]
    assert [type(event) for event in events] == [ExportBegun, ExportEnded]


async def test_a_cancelled_export(recorded, events, tmp_path):
    """A cancellation ends every span and is not reported as an error."""
    async with account(500, hooks=[recorded.hook, keep(events)]) as (sandbox, client):
        sandbox.fail_next(Fault.delay(0), Fault.delay(0), Fault.hang())
        task = asyncio.create_task(export_conversations(client, tmp_path / "x.jsonl"))
        await until(lambda: len(sandbox.log.requests) >= 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.conversations.page()

    (export,) = recorded.named("export")
    assert export.attributes["error.type"] == "CancelledError"
    assert export.status.is_ok or export.status.is_unset
    assert events[-1].error == "CancelledError"
    assert recorded.path(recorded.named("page")[-1]) == "page"


async def test_concurrent_exports_are_separate(recorded, tmp_path):
    """Each of several concurrent exports has its own requests as children."""
    async with account(200, 2, hooks=recorded.hook) as (sandbox, client):
        await asyncio.gather(
            *(
                export_conversations(client, tmp_path / f"{n}.jsonl", inbox_ids=[inbox_id])
                for n, inbox_id in enumerate(sandbox.inbox_ids)
            )
        )

    by_id = {span.context.span_id: span for span in recorded.spans}
    for page in recorded.named("page"):
        if (inbox_id := page.attributes.get("cekat.inbox.id")) is None:
            continue
        listing = by_id[page.parent.span_id]
        collect = by_id[listing.parent.span_id]
        partitions = [a for name, a in get_events(collect) if name == "partition"]
        assert [one["cekat.inbox.id"] for one in partitions] == [inbox_id]


def test_steps_of_an_export_that_never_began_are_ignored(recorded):
    """If a hook joins late, it ignores an export whose beginning it has not seen."""
    events: list[HookEvent] = [
        ExportStepBegun(export=0, step="collect"),
        CatchUpBegun(export=0, inbox_id=None, number=1),
        PartitionEnded(export=0, inbox_id=None, pages=1, records=1),
        ExportStepEnded(export=0, step="collect", records=1, seconds=1.0),
        ExportEnded(export=0, seconds=1.0),
    ]
    for event in events:
        recorded.hook(event)

    assert recorded.spans == []
    assert recorded.total("cekat.export.duration") == 0


def test_an_export_within_an_export(recorded):
    """When an inner export ends, later spans of the same task belong to the outer export."""
    for event in (
        ExportBegun(export=1, incremental=False, by_inbox=False),
        ExportBegun(export=2, incremental=False, by_inbox=False),
        ExportEnded(export=2, seconds=1.0),
        CallBegun(call=1, walk=None, path="/api/conversations"),
        CallFailed(call=1, walk=None, attempts=0, error="X", seconds=1.0),
        ExportEnded(export=1, seconds=1.0),
    ):
        recorded.hook(event)

    assert recorded.paths == ["export", "export > export", "export > page"]


def test_a_step_that_never_ended_ends_with_its_export(recorded):
    """When an export ends, all its open spans end with it."""
    recorded.hook(ExportBegun(export=0, incremental=True, by_inbox=False))
    recorded.hook(ExportStepBegun(export=0, step="publish"))
    recorded.hook(ExportEnded(export=0, seconds=1.0, error="SomeError"))

    assert recorded.paths == ["export", "export > publish"]
    assert {span.attributes["error.type"] for span in recorded.spans} == {"SomeError"}
