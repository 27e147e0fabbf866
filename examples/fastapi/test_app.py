"""Tests of the app, against a server on this machine that speaks the Cekat API.

pip install httpx pytest pytest-asyncio && pytest
"""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from app import app

from cekat_async import Conversation, ConversationPage, Timeout
from cekat_async.sandbox import Fault, Sandbox

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A Cekat API with 50 conversations."""
    async with Sandbox(conversations=50, inboxes=3, quota=None) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def web(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app, which reads from the sandbox."""
    monkeypatch.setenv("CEKAT_API_KEY", sandbox.api_key)
    monkeypatch.setenv("CEKAT_BASE_URL", sandbox.base_url)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as web,
    ):
        yield web


async def test_a_browser_walks_from_page_to_page(web: httpx.AsyncClient) -> None:
    """The two strings of the cursor are the parameters that lead to the next page."""
    found: list[str] = []
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        reply = await web.get("/conversations", params={"limit": 20, **cursor})
        assert reply.status_code == 200
        found += [record["id"] for record in reply.json()["data"]]
        cursor = reply.json()["metadata"]["next_cursor"]

    assert len(found) == len(set(found)) == 50


async def test_a_page_is_read_back(web: httpx.AsyncClient) -> None:
    """A program in Python can decode the app's reply with the same types."""
    reply = await web.get("/conversations", params={"status": "open"})

    page = ConversationPage.from_json(reply.content)
    assert all(conversation.stage_status == "open" for conversation in page)


async def test_all_conversations_are_streamed(web: httpx.AsyncClient) -> None:
    """Each line of the stream is a conversation."""
    reply = await web.get("/conversations.jsonl")

    assert len([Conversation.from_json(line) for line in reply.iter_lines()]) == 50


async def test_pending_conversations_are_streamed(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A stream of one status has all conversations with that status, and no others."""
    reply = await web.get("/conversations.jsonl", params={"status": "pending"})
    found = [Conversation.from_json(line) for line in reply.iter_lines()]

    assert {conversation.stage_status for conversation in found} == {"pending"}
    assert len(found) == sandbox.count(stage_status="pending")


async def test_inboxes(web: httpx.AsyncClient) -> None:
    """All inboxes are one list."""
    assert len((await web.get("/inboxes")).json()) == 3


@pytest.mark.parametrize(
    "fault,status",
    [
        (Fault.status(429, headers={"Retry-After": "3600"}), 503),
        (Fault.status(404), 404),
        (Fault.status(503, headers={"Retry-After": "3600"}), 503),
        (Fault.status(401), 502),
        (Fault.status(400), 422),
    ],
)
async def test_errors_have_a_status(
    web: httpx.AsyncClient, sandbox: Sandbox, fault: Fault, status: int
) -> None:
    """An error of the API becomes a reply with a fitting status, even for a stream."""
    for path in ("/conversations", "/conversations.jsonl"):
        sandbox.fail_next(fault)
        reply = await web.get(path)

        assert reply.status_code == status
        assert reply.json()["detail"]
        assert sandbox.api_key not in reply.text
        if status == 503:
            assert reply.headers["Retry-After"] == "3600"
            break  # the client knows about the pause, and sends nothing until the pause is over


async def test_a_malformed_record_does_not_cost_its_page(
    web: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    """The page still has its other records, and says which record is malformed."""
    sandbox.fail_next(Fault.malformed_record())
    reply = await web.get("/conversations")

    assert len(reply.json()["data"]) == 20
    assert [record["index"] for record in reply.json()["malformed_records"]] == [0]


async def test_a_stream_without_a_first_page_has_a_status(
    web: httpx.AsyncClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the API does not reply in time, the browser gets a 504 instead of a stream."""
    monkeypatch.setattr("app.DEADLINE", 0.01)
    sandbox.fail_next(Fault.hang())

    assert (await web.get("/conversations.jsonl")).status_code == 504


async def test_the_deadline_of_a_page_does_not_cut_a_stream(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline that no page can meet ends a request for a page, but it does not end a stream."""
    hurried = app.state.cekat.with_options(timeout=Timeout(deadline=1e-6))
    monkeypatch.setattr(app.state, "cekat", hurried)

    assert (await web.get("/conversations")).status_code == 504
    assert len((await web.get("/conversations.jsonl")).text.splitlines()) == 50


async def test_a_retry_is_invisible(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The client retries a dropped connection, and the browser notices nothing."""
    sandbox.fail_next(Fault.drop())

    assert (await web.get("/conversations")).status_code == 200


@pytest.mark.parametrize("query", [{"cursor_id": "x"}, {"limit": 0}, {"limit": 101}])
async def test_wrong_parameters(web: httpx.AsyncClient, query: dict[str, str | int]) -> None:
    """Half a cursor is refused, and so is a limit out of range."""
    assert (await web.get("/conversations", params=query)).status_code == 422


async def test_the_document_describes_conversations(web: httpx.AsyncClient) -> None:
    """The OpenAPI document has the type of a conversation, with an open set of statuses."""
    schemas = (await web.get("/openapi.json")).json()["components"]["schemas"]

    assert "contact_name" in schemas["Conversation"]["properties"]
    assert "enum" not in json.dumps(schemas["StageStatus"])
