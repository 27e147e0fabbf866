"""A user's FastAPI app under uvicorn, whose handlers read from the API."""

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import uvicorn
from aiohttp import ClientSession
from fastapi import Body, FastAPI
from support.clock import until

from cekat_async import (
    CekatClient,
    Conversation,
    ConversationPage,
    Cursor,
    Inbox,
    InboxPage,
    MalformedRecord,
    PlatformType,
    StageStatus,
)
from cekat_async.sandbox import Sandbox


def build_app(sandbox: Sandbox) -> FastAPI:  # noqa: C901 - one function for each endpoint
    """Return an app with one client for all requests."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with CekatClient(sandbox.api_key, base_url=sandbox.base_url) as app.state.cekat:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/conversations")
    async def get_conversations() -> list[Conversation]:
        return await app.state.cekat.conversations.list().take(3)

    @app.get("/first")
    async def get_first() -> Conversation:
        return (await app.state.cekat.conversations.page(limit=1))[0]

    @app.post("/page")
    async def get_page(cursor: Cursor | None = None) -> ConversationPage:
        return await app.state.cekat.conversations.page(limit=5, cursor=cursor)

    @app.get("/inboxes")
    async def get_inboxes() -> list[Inbox]:
        return await app.state.cekat.inboxes.list().collect()

    @app.get("/inbox-page")
    async def get_inbox_page() -> InboxPage:
        return await app.state.cekat.inboxes.page(limit=2)

    @app.get("/by-status")
    async def get_by_status(
        status: StageStatus, platform: PlatformType | None = None
    ) -> dict[str, Any]:
        page = await app.state.cekat.conversations.page(limit=2, stage_status=status)
        return {"page": page, "status": status, "known": status.is_known, "platform": platform}

    @app.get("/untyped")
    async def get_untyped():
        page = await app.state.cekat.conversations.page(limit=2)
        odd = MalformedRecord(0, None, "$", "Expected `object`", b"17")
        return {"items": page.items, "next_cursor": page.next_cursor, "malformed": [odd]}

    @app.post("/echo")
    async def echo(conversation: Conversation) -> Conversation:
        return conversation

    @app.post("/echo-many")
    async def echo_many(conversations: list[Conversation]) -> list[Conversation]:
        return conversations

    @app.post("/echo-page")
    async def echo_page(page: Annotated[ConversationPage, Body()]) -> ConversationPage:
        return page

    return app


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Run an app under uvicorn in a thread, and yield its URL."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        await until(lambda: server.started or not thread.is_alive())
        ((socket, *_),) = [one.sockets for one in server.servers]
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        await until(lambda: not thread.is_alive())


@pytest.fixture
async def sandbox():
    async with Sandbox(conversations=12, inboxes=3, quota=None) as sandbox:
        yield sandbox


@pytest.fixture
async def web(sandbox):
    """A function that sends a request to the app, and returns the status and the JSON."""
    async with served(build_app(sandbox)) as url, ClientSession(url) as session:

        async def send(method: str, path: str, **options) -> tuple[int, Any]:
            async with session.request(method, path, **options) as reply:
                return reply.status, json.loads(await reply.read())

        yield send


def read_sent(sandbox: Sandbox, count: int) -> list[dict]:
    """Return the first conversations as the API sends them."""
    return [json.loads(raw) for _, raw in sandbox.records()][:count]


async def test_handlers_return_records(web, sandbox) -> None:
    """Records, lists of records and pages reach the browser as the API sent them.

    That includes unknown fields.
    """
    sent = read_sent(sandbox, 5)

    status, records = await web("GET", "/conversations")
    assert status == 200
    for record, original in zip(records, sent, strict=False):
        assert Conversation.from_dict(record) == Conversation.from_dict(original)
        assert original.keys() <= record.keys()
    assert await web("GET", "/first") == (200, records[0])

    status, page = await web("POST", "/page")
    assert (status, page["success"], page["malformed_records"]) == (200, True, [])
    assert page["data"][:3] == records
    assert len(page["data"]) == 5


async def test_inboxes_are_records_too(web) -> None:
    """Inboxes and their pages reach the browser with the API's names."""
    status, inboxes = await web("GET", "/inboxes")
    _, page = await web("GET", "/inbox-page")

    assert (status, len(inboxes)) == (200, 3)
    assert page["data"] == inboxes[:2]
    assert page["metadata"]["pagination"]["current_page"] == 1


async def test_a_cursor_goes_to_the_browser_and_back(web, sandbox) -> None:
    """If a browser sends back the cursor of each page, it gets every record once."""
    found, cursor = [], None
    while True:
        status, page = await web("POST", "/page", json=cursor)
        assert status == 200
        found += [record["id"] for record in page["data"]]
        cursor = page["metadata"]["next_cursor"]
        if cursor is None:
            break

    assert sorted(found) == sorted(one["id"] for one in read_sent(sandbox, 12))
    assert (await web("POST", "/page", json={"cursor_id": "x"}))[0] == 422


async def test_a_handler_without_annotations_returns_records(web) -> None:
    """Without a return annotation, a handler can return records in any structure."""
    status, found = await web("GET", "/untyped")

    assert status == 200
    assert [Conversation.from_dict(one).id for one in found["items"]]
    assert set(found["next_cursor"]) == {"cursor_id", "cursor_ts"}
    assert found["malformed"][0]["raw"] == "17"


async def test_a_query_parameter_may_be_an_unknown_status(web, sandbox) -> None:
    """An unknown status is accepted and sent to the API unchanged."""
    known = await web("GET", "/by-status", params={"status": "open", "platform": "telex"})
    unknown = await web("GET", "/by-status", params={"status": "snoozed"})

    assert (known[0], known[1]["known"], known[1]["platform"]) == (200, True, "telex")
    assert all(one["stage_status"] == "open" for one in known[1]["page"]["data"])
    assert (unknown[1]["status"], unknown[1]["known"]) == ("snoozed", False)
    assert "stage_status=snoozed" in sandbox.log.requests[-1].query
    assert (await web("GET", "/by-status"))[0] == 422


async def test_a_request_body_may_be_a_record(web) -> None:
    """A record in a request body is read like one on a page.

    The handler needs no annotation that marks the record as a body.
    """
    sent = {"id": "x", "notes": 5, "created_at": "2026-04-10 16:24:23", "new": {"a": [None]}}

    status, echoed = await web("POST", "/echo", json=sent)
    assert status == 200
    assert echoed.items() >= (sent | {"created_at": "2026-04-10T16:24:23.000+00:00"}).items()
    assert await web("POST", "/echo-many", json=[sent]) == (200, [echoed])
    page = {"data": [sent], "malformed_records": [{"index": 0, "raw": "17"}]}
    _, echoed_page = await web("POST", "/echo-page", json=page)
    assert echoed_page["data"] == [echoed]
    assert [one["raw"] for one in echoed_page["malformed_records"]] == ["17"]


@pytest.mark.parametrize("body", [{}, {"id": 5}, [], "text", None])
async def test_other_bodies_are_refused(web, body) -> None:
    """Any other body gets a 422 with the reason."""
    status, found = await web("POST", "/echo", json=body)

    assert status == 422
    assert found["detail"][0]["loc"][0] == "body"


async def test_the_openapi_document_describes_records(web) -> None:
    """The OpenAPI document has records as named schemas, with open enums."""
    status, document = await web("GET", "/openapi.json")
    schemas = document["components"]["schemas"]
    name = "#/components/schemas/Conversation"

    assert status == 200
    assert {
        *("Conversation", "Cursor", "Inbox", "InboxPage", "Label", "MalformedRecord"),
        *("MessagePreview", "PlatformType", "StageStatus"),
    } <= schemas.keys()
    reply = document["paths"]["/conversations"]["get"]["responses"]["200"]
    (schema,) = [one["schema"] for one in reply["content"].values()]
    assert (schema["type"], schema["items"]) == ("array", {"$ref": name})
    body = document["paths"]["/echo"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": name}
    status_parameter = document["paths"]["/by-status"]["get"]["parameters"][0]
    assert status_parameter["in"] == "query"
    assert status_parameter["schema"] == {"$ref": "#/components/schemas/StageStatus"}
    assert schemas["StageStatus"]["examples"] == ["assigned", "resolved", "pending", "open"]
    assert not any("enum" in schema for schema in schemas.values())
