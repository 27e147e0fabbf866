"""The inboxes resource, tested with the sandbox: single pages and all inboxes."""

import json

import pytest
from support.parts import collect, collect_ids, make_pipeline
from support.scripted import reply

from cekat_async import CekatClient, Inbox, MalformedRecord, RetryPolicy
from cekat_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    MalformedRecordError,
)
from cekat_async.resources.inboxes import Inboxes
from cekat_async.sandbox import Dialect, Fault, Sandbox


def body(ids, total_pages=None, total_items=None) -> bytes:
    pagination = {"total_page": total_pages, "total_items": total_items, "current_page": 1}
    records = [{"id": i} if isinstance(i, str) else i for i in ids]
    return json.dumps({"data": records, "metadata": {"pagination": pagination}}).encode()


def make_inboxes(*bodies: bytes):
    pipeline, transport = make_pipeline([reply(body=one) for one in bodies])
    return Inboxes(pipeline), transport


async def test_a_page_of_inboxes(client, sandbox):
    """A page takes one request, and has typed inboxes and the server's totals."""
    page = await client.inboxes.page()

    assert [inbox.id for inbox in page] == sandbox.inbox_ids
    assert all(isinstance(inbox, Inbox) for inbox in page)
    assert (page.page, page.total_pages, page.total_items) == (1, 1, 3)
    assert [seen.query for seen in sandbox.log.requests] == ["limit=100&page=1"]
    assert [bytes(raw) for raw in page.raw] == [raw for _, raw in sandbox.inbox_records()]


async def test_a_later_page(client, sandbox):
    """The first page has the number 1, and a page after the end is empty."""
    second = await client.inboxes.page(page=2, limit=2)
    beyond = await client.inboxes.page(page=9, limit=2)

    assert [inbox.id for inbox in second] == sandbox.inbox_ids[2:]
    assert (second.page, second.total_pages) == (2, 2)
    assert len(beyond) == 0


@pytest.mark.parametrize("inboxes", [0, 1, 2, 7, 30])
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_every_inbox_once(inboxes, limit):
    """The list yields every inbox of the account once, in the server's order."""
    async with (
        Sandbox(conversations=0, inboxes=inboxes, quota=None) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as client,
    ):
        found = await collect(client.inboxes.list(page_size=limit))

    assert [inbox.id for inbox in found] == sandbox.inbox_ids
    assert len(sandbox.log.requests) == max(1, -(-inboxes // limit))


async def test_an_inbox_that_moves_between_pages_is_yielded_once():
    """If an inbox appears again on a later page, it is not yielded again."""
    inboxes, _ = make_inboxes(body("ab", 2, 4), body("bc", 2, 4), body("d", 3, 4))

    found = await collect(inboxes.list(page_size=2))

    assert "".join(inbox.id for inbox in found) == "abcd"


async def test_totals_that_are_wrong_or_missing():
    """Wrong or missing totals do not matter: the walk ends at a page without new inboxes."""
    inboxes, transport = make_inboxes(body("ab"), body("cd"), body(""))

    found = await collect(inboxes.list(page_size=2))

    assert "".join(inbox.id for inbox in found) == "abcd"
    assert len(transport.requests) == 3


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": True}, {"limit": "5"}, {"page": 0}, {"page": 1.0}], ids=repr
)
async def test_a_wrong_argument_is_refused_at_the_call(wrong):
    """A wrong argument raises an error at the call, and no request is sent."""
    inboxes, transport = make_inboxes()
    (name,) = wrong

    with pytest.raises(ConfigurationError, match=name):
        await inboxes.page(**wrong)
    if name == "limit":
        with pytest.raises(ConfigurationError, match="page_size"):
            inboxes.list(page_size=wrong[name])
    assert not transport.requests


async def test_a_malformed_inbox():
    """A malformed inbox raises an error after the others, or is passed to ``on_malformed``."""
    odd: list[MalformedRecord] = []
    page = body(["a", {"id": 5}, "b"], 1, 3)
    inboxes, _ = make_inboxes(page, page, page, page)
    found: list[str] = []

    with pytest.raises(MalformedRecordError) as caught:
        await collect_ids(inboxes.list(), found)
    with pytest.raises(MalformedRecordError):
        await inboxes.page()
    rest = await collect(inboxes.list(on_malformed=odd.append))
    alone = await inboxes.page(on_malformed=odd.append)

    assert found == ["a", "b"]
    assert (caught.value.index, caught.value.field) == (1, "$.id")
    assert [inbox.id for inbox in rest] == [inbox.id for inbox in alone] == ["a", "b"]
    assert [record.index for record in odd] == [1, 1]


async def test_errors_of_the_listing():
    """If the server refuses the listing, the error says why. A temporary fault is retried."""
    dialect = Dialect(over_limit="reject", max_limit=10)
    async with (
        Sandbox(conversations=10, inboxes=12, quota=None, dialect=dialect) as sandbox,
        CekatClient(
            sandbox.api_key, base_url=sandbox.base_url, retry=RetryPolicy(backoff=0.001)
        ) as client,
    ):
        with pytest.raises(BadRequestError) as caught:
            await client.inboxes.page(limit=11)
        sandbox.fail_next(Fault.drop(), Fault.ok(), Fault.truncate())
        found = await collect(client.inboxes.list(page_size=10))
        sandbox.fail_next(Fault.status(401))
        with pytest.raises(AuthenticationError):
            await collect(client.inboxes.list())

    assert caught.value.path == "/api/inboxes"
    assert len(found) == 12
