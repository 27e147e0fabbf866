"""Exports from servers whose listings never end."""

import pytest

from cekat_async import InboxesFailedError, PaginationError
from cekat_async.export import export_conversations
from cekat_async.sandbox import Dialect

ENDLESS = ["empty", "repeat", "cycle"]


def heal(sandbox):
    """Let the listings of an endless sandbox end from now on."""
    sandbox._api._endless = None


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("endless", ENDLESS)
async def test_an_export_ends_and_loses_nothing(account, target, endless, concurrency):
    """The export ends with an error and keeps its checkpoint. The same call completes it later."""
    checkpoint = target.with_name(target.name + ".checkpoint")
    async with account(250, dialect=Dialect(endless=endless)) as here:
        options = {"page_size": 10, "concurrency": concurrency}
        with pytest.raises(PaginationError, match="would never end"):
            await export_conversations(here.client, target, **options)

        # The export requests a probe, 25 pages, 50 without progress, and some of other segments.
        assert len(here.sandbox.log.requests) <= 1 + 25 + 50 + 15
        # Each page is stored as it was received, with about 2 kB per conversation.
        assert checkpoint.stat().st_size < 2_000_000
        assert not target.exists()

        heal(here.sandbox)
        report = await export_conversations(here.client, target, **options)

        assert sorted(target.read_bytes().splitlines()) == sorted(here.lines().splitlines())
        assert report.manifest.conversations == 250


@pytest.mark.parametrize("endless", ENDLESS)
async def test_an_export_of_an_endless_server_that_is_tried_again_ends_again(
    account, target, endless
):
    """Each attempt costs 50 requests plus the requests in flight."""
    async with account(250, dialect=Dialect(endless=endless)) as here:
        for _ in range(3):
            before = len(here.sandbox.log.requests)
            with pytest.raises(PaginationError):
                await export_conversations(here.client, target, concurrency=1)

            assert len(here.sandbox.log.requests) - before <= 60


async def test_an_export_by_inbox_names_each_that_never_ends(account, target):
    """Each inbox is read until the export detects that the listing does not end.

    The error names all these inboxes.
    """
    async with account(90, inboxes=3, dialect=Dialect(endless="repeat")) as here:
        with pytest.raises(InboxesFailedError) as caught:
            await export_conversations(here.client, target, inbox_ids=here.sandbox.inbox_ids)

        assert {error.inbox_id for error in caught.value.errors} == {*here.sandbox.inbox_ids}
        assert {type(error) for error in caught.value.errors} == {PaginationError}
        assert len(here.sandbox.log.requests) <= 3 * (1 + 1 + 50 + 5)


async def test_an_export_by_inbox_with_an_endless_listing_of_inboxes(account, target):
    """An endless listing of inboxes raises an error before anything is exported."""
    async with account(90, inboxes=3, dialect=Dialect(endless="repeat")) as here:
        with pytest.raises(PaginationError, match="had no new inboxes") as caught:
            await export_conversations(here.client, target, by_inbox=True)

        assert caught.value.path == "/api/inboxes"
        assert len(here.sandbox.log.requests) == 1 + 50
