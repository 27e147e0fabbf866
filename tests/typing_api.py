"""The types that checkers see in a user's code. mypy and pyright check this file. It is never run.

Next to each wrong use, a comment names the error that it must give. If a type is lost, that comment
is unused, and the checker reports it.
"""

# pyarrow does not include types.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type
from zoneinfo import ZoneInfo

import msgspec
import pandas as pd
import polars as pl

from cekat_async import (
    APIStatusError,
    CekatClient,
    CekatError,
    ConfigurationError,
    Conversation,
    ConversationPage,
    Cursor,
    DeadlineExceededError,
    DecodeError,
    HookEvent,
    Hooks,
    Inbox,
    InboxesFailedError,
    InboxPage,
    Label,
    Limiter,
    LimiterSnapshot,
    Listing,
    MalformedRecord,
    MalformedRecordError,
    MessagePreview,
    PageFetched,
    PaginationError,
    PauseBegun,
    PlatformType,
    Position,
    RateLimit,
    RateLimitError,
    RawPage,
    ReplyReceived,
    RequestSent,
    ResponseDetails,
    RetryPolicy,
    RetryScheduled,
    StageStatus,
    Timeout,
    TransportError,
    WalkBegun,
    __version__,
    decode_conversation,
    errors,
)
from cekat_async.export import (
    ExportEnded,
    ExportProgress,
    ExportReport,
    Manifest,
    Partition,
    Records,
    Sink,
    export_conversations,
)
from cekat_async.frames import arrow_batches, to_arrow, to_pandas, to_polars
from cekat_async.sandbox import FaultInjector, Sandbox
from cekat_async.telemetry import OpenTelemetry

if TYPE_CHECKING:
    from uuid import UUID

    from aiohttp import ClientSession
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


async def clients(session: ClientSession) -> None:
    async with CekatClient() as cekat:
        assert_type(cekat, CekatClient)
    client = CekatClient(
        "key",
        base_url="https://gw.example",
        rate_limit=RateLimit(60, per=60),
        retry=RetryPolicy(attempts=3, backoff=1, backoff_max=10),
        timeout=Timeout(connect=5, read=10, attempt=30, request=None, deadline=90),
        concurrency=2,
        max_page_bytes=1_000_000,
        session=session,
        hooks=[print, on_event],
        trust_env=True,
        allow_http=False,
    )
    CekatClient(hooks=on_event)
    assert_type(client.hooks, Hooks)
    client.hooks.emit(WalkBegun(walk=1, path="/api/conversations"))
    CekatClient(rate_limit=None, session=None)
    assert_type(await client.get("/api/agents"), Any)
    await client.get("/api/agents", params={"limit": 5, "inbox_id": ["a", "b"], "since": None})
    await client.get("/api/agents", params=[("since", datetime.now(UTC)), ("all", True)])
    assert_type(client.with_options(timeout=Timeout(deadline=5)), CekatClient)
    assert_type(client.with_options(retry=RetryPolicy(attempts=1)), CekatClient)
    assert_type(client.limiter, Limiter)
    assert_type(client.limiter.snapshot(), LimiterSnapshot)
    CekatClient(rate_limit=client.limiter)
    Limiter(RateLimit(300, per_day=10_000, longest_hold=None), share=0.5)
    Limiter(None)
    assert_type(client.traffic.requests, int)
    assert_type(client.traffic.retries, int)
    assert_type(client.base_url, str)
    assert_type(client.proxy, str | None)
    assert_type(await client.aclose(), None)
    version: str = __version__
    print(version)  # noqa: T201 - used, for the checkers


def on_event(event: HookEvent) -> None:
    match event:
        case RequestSent(url=url, waited=waited):
            assert_type(url, str)
            assert_type(waited, dict[str, float])
        case ReplyReceived(status=status):
            assert_type(status, int)
        case RetryScheduled(seconds=seconds) | PauseBegun(seconds=seconds):
            assert_type(seconds, float)
        case PageFetched(records=records):
            assert_type(records, int)
        case _:
            pass


def wrong_clients() -> None:
    CekatClient(hooks=1)  # type: ignore[arg-type]
    _ = CekatClient().get("/api/agents", {"limit": 5})  # type: ignore[call-arg]
    _ = CekatClient().get("/api/agents", params={"limit": object()})  # type: ignore[arg-type]
    CekatClient().with_options(retry=3)  # type: ignore[arg-type]
    CekatClient().with_options(Timeout())  # type: ignore[call-arg]
    CekatClient(1)  # type: ignore[arg-type]
    CekatClient("key", "https://gw.example")  # type: ignore[call-arg]
    CekatClient(rate_limit=300)  # type: ignore[arg-type]
    CekatClient(retry=None)  # type: ignore[arg-type]
    CekatClient(timeout=30)  # type: ignore[arg-type]
    CekatClient(session="session")  # type: ignore[arg-type]
    CekatClient(max_retries=3)  # type: ignore[call-arg]
    RetryPolicy(3)  # type: ignore[call-arg]
    RateLimit("300")  # type: ignore[arg-type]
    RateLimit().requests = 1  # type: ignore[misc]
    with CekatClient():  # type: ignore[attr-defined]
        pass


async def pages(client: CekatClient, cursor: Cursor, status: StageStatus) -> None:
    page = await client.conversations.page(
        limit=10, inbox_id="i", stage_status="snoozed", cursor=cursor
    )
    assert_type(page, ConversationPage)
    assert_type(page.items, tuple[Conversation, ...])
    assert_type(page.malformed_records, tuple[MalformedRecord, ...])
    assert_type(page.next_cursor, Cursor | None)
    assert_type(page.body, bytes)
    assert_type(page.response, ResponseDetails | None)
    if page.response is not None:
        assert_type(page.response.headers["Date"], str)
        assert_type(page.response.headers.get("Date"), str | None)
        assert_type(page.response.request_id, str | None)
        assert_type(page.response.waited, dict[str, float])
        assert_type(page.response.seconds_waited, float)
    assert_type(page.raw, list[msgspec.Raw])
    assert_type(len(page), int)
    for item in page:
        assert_type(item, Conversation)
    assert_type(page[0], Conversation)
    assert_type(page[-1].contact_name, str | None)
    assert_type(page[:3], tuple[Conversation, ...])

    walk = client.conversations.list(stage_status=status, cursor=None).pages()
    assert_type(walk, AsyncGenerator[ConversationPage, None])
    async with aclosing(walk) as closing:
        async for each in closing:
            assert_type(each, ConversationPage)
            if each.next_cursor is not None:
                assert_type(each.next_cursor.cursor_id, str)
                assert_type(each.next_cursor.cursor_ts, str)


async def raw_pages(client: CekatClient, cursor: Cursor) -> None:
    """Raw pages have bytes and no records."""
    walk = client.conversations.list(page_size=50, cursor=cursor, prefetch=0).raw_pages()
    assert_type(walk, AsyncGenerator[RawPage, None])
    async for page in walk:
        assert_type(page.raw, list[msgspec.Raw])
        assert_type(page.lines, list[bytes])
        assert_type(page[0], msgspec.Raw)
        assert_type(page[:3], list[msgspec.Raw])
        assert_type(page.json_lines(), bytes)
        assert_type(page.next_cursor, Cursor | None)
        _ = page.items  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def listings(client: CekatClient) -> None:
    """A listing is an async iterable. It is neither an iterator nor awaitable."""
    listing = client.conversations.list(segments=8, prefetch=0)
    iterable: AsyncIterable[Conversation] = listing
    async for conversation in iterable:
        assert_type(conversation, Conversation)
    assert_type(aiter(listing), AsyncGenerator[Conversation, None])
    assert_type(listing.pages(), AsyncGenerator[ConversationPage, None])
    assert_type(listing.tracked_pages({}), AsyncGenerator[ConversationPage, None])
    assert_type(await listing.take(10), list[Conversation])
    assert_type(await listing.collect(), list[Conversation])
    async with aclosing(listing) as closing:
        assert_type(closing, Listing[Conversation, ConversationPage])
    inboxes = client.inboxes.list(page_size=10)
    assert_type(await inboxes.take(1), list[Inbox])
    assert_type(inboxes.pages(), AsyncGenerator[InboxPage, None])


async def wrong_listings(client: CekatClient) -> None:
    listing = client.conversations.list()
    await listing  # type: ignore[misc]
    await anext(listing)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await listing.take("10")  # type: ignore[arg-type]
    client.inboxes.list().raw_pages()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    client.inboxes.list().tracked_pages({})  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    # The number of records per request is called page_size.
    client.conversations.list(limit=10)  # type: ignore[call-arg]
    client.conversations.across(limit=10)  # type: ignore[call-arg]
    client.inboxes.list(limit=10)  # type: ignore[call-arg]
    await export_conversations(client, "x.jsonl", limit=10)  # type: ignore[call-arg]


async def wrong_pages(client: CekatClient, page: ConversationPage) -> None:
    client.conversations.page().items  # type: ignore[attr-defined]  # noqa: B018 - not awaited
    await client.conversations.page(10)  # type: ignore[call-arg]
    await client.conversations.page(limit="10")  # type: ignore[arg-type]
    await client.conversations.page(cursor=("id", "ts"))  # type: ignore[arg-type]
    await client.conversations.page(stage_status=1)  # type: ignore[arg-type]
    client.conversations.list(page=1).pages()  # type: ignore[call-arg]
    await client.conversations.list().pages()  # type: ignore[misc]
    for _ in client.conversations.list():  # type: ignore[attr-defined]
        pass
    page.next_cursor.cursor_id  # type: ignore[union-attr]  # noqa: B018 - not asked for None
    page.next_cursor = None  # type: ignore[misc]
    page["id"]  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    page[0] = page[1]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    Cursor("id")  # type: ignore[call-arg]


async def inboxes_by_uuid(
    client: CekatClient, inbox: UUID, several: list[UUID], later: AsyncIterable[UUID]
) -> None:
    """Wherever an inbox id is accepted, a UUID is accepted as well."""
    page = await client.conversations.page(inbox_id=inbox)
    assert_type(page.inbox_id, str | None)
    client.conversations.list(inbox_id=inbox).pages()
    client.conversations.list(inbox_id=inbox)
    client.conversations.list(inbox_id=inbox).raw_pages()
    client.conversations.across(several)
    client.conversations.across([inbox, "a"])
    client.conversations.across(later).pages()
    client.conversations.list(inbox_id=inbox).tracked_pages({inbox: Position()})
    client.conversations.across(several).tracked_pages(dict.fromkeys(several, Position()))
    await export_conversations(client, "x.jsonl", inbox_ids=several)
    await export_conversations(client, "x.jsonl", since=timedelta(days=3), until=datetime.now(UTC))
    client.conversations.list(inbox_id=b"id")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.conversations.list().tracked_pages({1: Position()})  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def many_inboxes(client: CekatClient, ids: AsyncIterable[str]) -> None:
    assert_type(client.conversations.across(), Listing[Conversation, ConversationPage])
    walk = client.conversations.across(ids, concurrency=4, keep_going=True).pages()
    assert_type(walk, AsyncGenerator[ConversationPage, None])
    client.conversations.across(["a"], stage_status="open", page_size=10)
    client.conversations.across({"a": 1}.keys())
    client.conversations.across(inbox.id async for inbox in client.inboxes.list())
    client.conversations.across([1])  # type: ignore[list-item]
    client.conversations.across(concurrency="4")  # type: ignore[arg-type]
    client.conversations.across(prefetch=1)  # type: ignore[call-arg]
    client.conversations.across(segments="8")  # type: ignore[arg-type]
    try:
        async for page in walk:
            assert_type(page.inbox_id, str | None)
    except InboxesFailedError as failed:
        assert_type(failed.errors, tuple[CekatError, ...])
        assert_type(failed.errors[0].inbox_id, str | None)


async def conversations(client: CekatClient) -> None:
    client.conversations.across(since=timedelta(days=1), until=datetime.now(UTC))
    client.conversations.list(since=None, until=timedelta(hours=1)).raw_pages()
    client.conversations.list(since="3d")  # type: ignore[arg-type]
    walk = client.conversations.list(page_size=100, inbox_id=None, stage_status=StageStatus.OPEN)
    assert_type(walk, Listing[Conversation, ConversationPage])
    async for conversation in walk:
        assert_type(conversation, Conversation)
        assert_type(conversation.id, str)
        assert_type(conversation.contact_name, str | None)
        assert_type(conversation.contact_phone, str | None)
        assert_type(conversation.handled_by_id, str | None)
        assert_type(conversation.notes, str | None)
        assert_type(conversation.platform_type, PlatformType | None)
        assert_type(conversation.stage_status, StageStatus | None)
        assert_type(conversation.labels, tuple[Label, ...])
        assert_type(conversation.last_message, MessagePreview | None)
        assert_type(conversation.first_message, MessagePreview | None)
        assert_type(conversation.additional_data, dict[str, Any])
        assert_type(conversation.created_at, datetime | None)
        assert_type(conversation.resolved_at, datetime | None)
        assert_type(conversation.to_dict(), dict[str, Any])
        for label in conversation.labels:
            assert_type(label, Label)
            assert_type(label.name, str | None)
        if conversation.last_message is not None:
            assert_type(conversation.last_message.message, str | None)
            assert_type(conversation.last_message.created_at, datetime | None)
        assert_type(conversation.extra.get("pipeline"), Any | None)


def statuses(conversation: Conversation) -> str:
    assert_type(conversation.stage_status == "open", bool)
    assert_type(conversation.stage_status == StageStatus.OPEN, bool)
    assert_type(StageStatus("snoozed").is_known, bool)
    assert_type(PlatformType("telex").upper(), str)
    match conversation.stage_status:
        case StageStatus.OPEN | StageStatus.PENDING:
            return "waits"
        case None:
            return "unknown"
        case other:
            return other.upper()


def wrong_conversations(conversation: Conversation) -> None:
    conversation.notes.upper()  # type: ignore[union-attr]
    conversation.stage_status.value  # type: ignore[union-attr]  # noqa: B018 - may be None
    conversation.last_message.message  # type: ignore[union-attr]  # noqa: B018 - may be None
    conversation.nickname  # type: ignore[attr-defined]  # noqa: B018 - no such field
    Conversation()  # type: ignore[call-arg]
    Conversation(id=1)  # type: ignore[arg-type]
    Conversation(id="x", labels=None)  # type: ignore[arg-type]
    conversation.platform_type is StageStatus.OPEN  # type: ignore[comparison-overlap]  # noqa: B015 - never so
    conversation.notes = "changed"  # type: ignore[misc]


def forms(conversation: Conversation, page: ConversationPage, inboxes: InboxPage) -> None:
    assert_type(Conversation.from_json(conversation.to_json()), Conversation)
    assert_type(Conversation.from_dict(conversation.to_dict()), Conversation)
    assert_type(Inbox.from_json("{}"), Inbox)
    assert_type(Label.from_dict({}), Label)
    assert_type(ConversationPage.from_json(page.to_json()), ConversationPage)
    assert_type(InboxPage.from_dict(inboxes.to_dict()).items, tuple[Inbox, ...])
    assert_type(page.malformed_records[0].to_dict(), dict[str, Any])
    assert_type(dict(conversation), dict[str, Any])
    assert_type(conversation["notes"], Any)
    assert_type(list(conversation), list[str])
    Conversation.from_dict([])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Conversation.from_json({})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def decoding() -> None:
    conversation = decode_conversation(b'{"id":"x"}')
    assert_type(conversation, Conversation)
    assert_type(decode_conversation("{}"), Conversation)
    assert_type(decode_conversation(msgspec.Raw(b"{}")), Conversation)
    decode_conversation({"id": "x"})  # type: ignore[arg-type]


async def inboxes(client: CekatClient) -> None:
    page = await client.inboxes.page(page=2, limit=10)
    assert_type(page, InboxPage)
    assert_type(page[0], Inbox)
    assert_type(page[:3], tuple[Inbox, ...])
    assert_type(page.items, tuple[Inbox, ...])
    assert_type(page.page, int)
    assert_type(page.total_pages, int | None)
    assert_type(page.total_items, int | None)
    walk = client.inboxes.list(page_size=10)
    assert_type(walk, Listing[Inbox, InboxPage])
    async for inbox in walk:
        assert_type(inbox, Inbox)
        assert_type(inbox.id, str)
        assert_type(inbox.name, str | None)
        assert_type(inbox.type, PlatformType | None)
        assert_type(inbox.flow_mode, bool | None)
        assert_type(inbox.created_at, datetime | None)
    await client.inboxes.page(2)  # type: ignore[call-arg]
    client.inboxes.list(stage_status="open")  # type: ignore[call-arg]


async def malformed_records(client: CekatClient) -> None:
    kept: list[MalformedRecord] = []

    def keep(record: MalformedRecord) -> None:
        assert_type(record.index, int)
        assert_type(record.id, str | None)
        assert_type(record.field, str)
        assert_type(record.reason, str)
        assert_type(record.raw, bytes)

    def keep_text(record: str) -> None: ...

    async for _ in client.conversations.list(on_malformed=keep):
        pass
    # The function may return anything.
    await client.conversations.page(on_malformed=kept.append)
    await client.inboxes.page(on_malformed=lambda record: record.index)
    client.inboxes.list(on_malformed=print)
    client.conversations.list(on_malformed=keep_text)  # type: ignore[arg-type]


async def failures(client: CekatClient, again: Callable[[Cursor | None], None]) -> None:
    try:
        await client.conversations.page()
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except APIStatusError as error:
        assert_type(error.status, int)
        assert_type(error.code, str | None)
        assert_type(error.details, tuple[Mapping[str, Any], ...])
        assert_type(error.body, bytes)
    except MalformedRecordError as error:
        assert_type(error.index, int | None)
        assert_type(error.id, str | None)
        assert_type(error.records, tuple[MalformedRecord, ...])
        assert_type(error.page, ConversationPage | InboxPage | None)
    except DecodeError as error:
        assert_type(error.field, str | None)
        assert_type(error.raw, bytes)
    except (TransportError, PaginationError, DeadlineExceededError) as error:
        again(error.cursor)
    except CekatError as error:
        assert_type(error.message, str)
        assert_type(error.path, str | None)
        assert_type(error.attempts, int)
        assert_type(error.request_id, str | None)
        assert_type(error.cursor, Cursor | None)
        error.status  # type: ignore[attr-defined]  # noqa: B018 - not all have one


def kinships(wrong: ConfigurationError, late: DeadlineExceededError) -> None:
    value_error: ValueError = wrong
    timeout_error: TimeoutError = late
    family: type[CekatError] = errors.ServerError
    not_family: type[CekatError] = ValueError  # type: ignore[assignment]
    print(value_error, timeout_error, family, not_family)  # noqa: T201 - used, for the checkers


async def tracked(client: CekatClient) -> None:
    positions: dict[str | None, Position] = {None: Position()}
    by_text: dict[str, Position] = {"inbox": Position()}
    client.conversations.across().tracked_pages(by_text)
    async for page in client.conversations.list().tracked_pages(positions):
        assert_type(page, ConversationPage)
        assert_type(page.position, Position | None)
        assert_type(page.ids, list[str | None])
    client.conversations.across().tracked_pages({"inbox": Position().since(overlap=60)})
    client.conversations.list().tracked_pages({None: None})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


class MemorySink:
    """A store that a user has written."""

    target = "memory"
    checkpoint: Path | None = None

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def open(self) -> None: ...

    def manifest(self) -> Manifest | None:
        return None

    def verify(self, manifest: Manifest) -> None: ...

    def stored(self) -> Iterable[list[bytes]] | None:
        return None

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        for batch in records:
            assert_type(batch, list[bytes])
            self.records += batch
        return manifest

    def close(self) -> None: ...


def telemetry(tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
    hook = OpenTelemetry(tracer_provider=tracer_provider, meter_provider=meter_provider)
    client = CekatClient(hooks=[OpenTelemetry(), hook])
    hook.observe(client)
    assert_type(hook.open_spans, int)
    ended = ExportEnded(export=1, seconds=1.0)
    assert_type(ended.error, str | None)
    hook(ended)
    OpenTelemetry(tracer_provider)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(Position().passes, int)


async def exports(client: CekatClient) -> None:
    sink: Sink = MemorySink()
    report = await export_conversations(client, sink, inbox_ids=["a"], incremental=True)
    assert_type(report, ExportReport)
    assert_type(report.manifest.partitions, tuple[Partition, ...])
    assert_type(report.seconds_left, float | None)
    await export_conversations(client, Path("x.parquet"), on_progress=tell)
    await export_conversations(client, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def tell(progress: ExportProgress) -> None:
    assert_type(progress.per_minute, float)


def sandboxes(conversation: Mapping[str, Any]) -> None:
    with Sandbox(conversations=0) as sandbox:
        assert_type(sandbox, Sandbox)
        id_ = sandbox.add(conversation, contact_name="Sari")
        assert_type(id_, str)
        sandbox.update(id_, notes=None)
        sandbox.assign(id_, "Dewi")
        FaultInjector(sandbox).status(429, retry_after=1.5)
    sandbox.add("Sari")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def dataframes(client: CekatClient) -> None:
    conversations, inboxes = client.conversations.across(), client.inboxes.list()
    assert_type(conversations.record_type, type[Conversation])
    assert_type(inboxes.record_type, type[Inbox])
    assert_type(await to_polars(conversations, timezone=UTC), pl.DataFrame)
    assert_type(await to_polars(inboxes, columns=["id"], free_form="struct"), pl.DataFrame)
    frame = await to_pandas(conversations, timezone="UTC", dtype_backend="pyarrow")
    assert_type(frame, pd.DataFrame)
    # pyarrow does not include types.
    table: object = await to_arrow(inboxes, columns=("id",), timezone=ZoneInfo("UTC"))
    async with aclosing(arrow_batches(conversations, rows=10)) as batches:
        async for batch in batches:
            print(table, batch)  # noqa: T201 - used, for the checkers


async def wrong_dataframes(client: CekatClient) -> None:
    listing = client.conversations.list()
    await to_polars([])  # type: ignore[arg-type]
    await to_polars(listing, timezone=7)  # type: ignore[arg-type]
    await to_polars(listing, free_form="text")  # type: ignore[arg-type]
    await to_pandas(listing, dtype_backend="numpy")  # type: ignore[arg-type]
    arrow_batches(listing, 10)  # type: ignore[call-arg]
