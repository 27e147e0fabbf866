"""Tests of the app, against a server on this machine that speaks the Cekat API.

pip install httpx pytest pytest-asyncio && pytest
"""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from django_app import application

from cekat_async import Conversation, ConversationPage
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
    transport = httpx.ASGITransport(application)
    async with (
        application.open_client(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as web,
    ):
        yield web


async def test_a_page_of_one_status(web: httpx.AsyncClient) -> None:
    """The reply is a page that a program in Python can read back."""
    reply = await web.get("/conversations", params={"status": "pending"})

    page = ConversationPage.from_json(reply.content)
    assert {conversation.stage_status for conversation in page} == {"pending"}


async def test_pending_conversations_are_streamed(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Each line of the stream is a conversation with the requested status."""
    reply = await web.get("/conversations.jsonl", params={"status": "pending"})
    found = [Conversation.from_json(line) for line in reply.iter_lines()]

    assert len(found) == sandbox.count(stage_status="pending")


@pytest.mark.parametrize("path", ["/conversations", "/conversations.jsonl"])
@pytest.mark.parametrize("code,status", [(400, 422), (401, 502), (404, 404)])
async def test_errors_have_a_status(
    web: httpx.AsyncClient, sandbox: Sandbox, path: str, code: int, status: int
) -> None:
    """An error of the API becomes a reply with a fitting status, even for a stream."""
    sandbox.fail_next(Fault.status(code))
    reply = await web.get(path)

    assert reply.status_code == status
    assert sandbox.api_key not in reply.text


async def test_a_pause_is_passed_on(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The reply says when the API accepts requests again."""
    sandbox.fail_next(Fault.status(429, headers={"Retry-After": "3600"}))
    reply = await web.get("/conversations")

    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "3600")


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
    monkeypatch.setattr("django_app.DEADLINE", 0.01)
    sandbox.fail_next(Fault.hang())

    assert (await web.get("/conversations.jsonl")).status_code == 504


async def test_an_unknown_path_is_left_to_django(web: httpx.AsyncClient) -> None:
    """If the app does not have a path, Django replies."""
    assert (await web.get("/unknown")).status_code == 404
