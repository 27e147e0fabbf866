"""Tracked pages over sockets: a walk is resumed in another process and misses nothing."""

import pytest
from support.parts import make_client

from cekat_async import InboxesFailedError, Position
from cekat_async.sandbox import Dialect, Live, Sandbox


class Keeper:
    """Stores ids and positions, and can be stopped."""

    def __init__(self, client):
        self._client = client
        self.ids = []
        self.positions = {None: Position()}

    def _listing(self, concurrency=8, **options):
        conversations, inboxes = self._client.conversations, [*self.positions]
        if inboxes == [None]:
            return conversations.list(segments=concurrency, **options)
        return conversations.across(
            inboxes, concurrency=concurrency, segments=concurrency, keep_going=True, **options
        )

    async def walk(self, most=None, **options):
        """Continue the walk for this many pages."""
        kept = {
            inbox_id: Position.from_bytes(position.to_bytes())
            for inbox_id, position in self.positions.items()
        }
        pages = self._listing(**options).tracked_pages(kept)
        count = 0
        try:
            async for page in pages:
                self.ids += page.ids
                self.positions[page.inbox_id] = page.position
                count += 1
                if count == most:
                    break
        finally:
            await pages.aclose()
        return count


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(
    "dialect",
    [
        Dialect(),
        Dialect(order="created"),
        Dialect(order="ascending", end="echo"),
        Dialect(density="bursty", tie=30, end="empty_page"),
        Dialect(made_up_cursors="reject"),
        Dialect(made_up_cursors="ignore", timestamps="space"),
        Dialect(made_up_cursors="by_id"),
    ],
    ids=lambda d: f"{d.order}-{d.density}-{d.made_up_cursors}",
)
async def test_a_walk_that_is_stopped_and_resumed_is_complete(concurrency, dialect):
    """A walk that is stopped after every few pages reads everything, in each dialect."""
    # If a cursor follows its conversation to the front, a walk may follow it in circles.
    live = Live(messages=0 if dialect.made_up_cursors == "by_id" else 0.5, seed=3)
    async with (
        Sandbox(400, quota=None, cache=1000, dialect=dialect, live=live) as sandbox,
        make_client(sandbox) as client,
    ):
        there = {id_ for id_, _ in sandbox.records()}
        keeper = Keeper(client)
        while await keeper.walk(7, concurrency=concurrency, page_size=20) == 7:
            pass

    assert set(keeper.ids) >= there


async def test_many_inboxes_each_with_its_position():
    """Each listing resumes at its own position, and each page has its inbox."""
    async with Sandbox(800, 6, quota=None) as sandbox, make_client(sandbox) as client:
        keeper = Keeper(client)
        keeper.positions = dict.fromkeys(sandbox.inbox_ids, Position())
        while await keeper.walk(5, concurrency=3, page_size=20) == 5:
            pass

        assert set(keeper.ids) == {id_ for id_, _ in sandbox.records()}
        assert await keeper.walk(concurrency=3, page_size=20) == 0


async def test_an_account_in_order_of_creation_is_reported():
    """A changed conversation keeps its place in that order.

    So an incremental walk reads everything.
    """
    for order, is_so in (("created", True), ("activity", False)):
        dialect = Dialect(order=order)
        async with Sandbox(300, quota=None, dialect=dialect) as s, make_client(s) as client:
            keeper = Keeper(client)
            await keeper.walk()

        position = keeper.positions[None]
        assert (position.since() == Position()) is is_so


async def test_a_failing_inbox_does_not_stop_the_others():
    """With ``keep_going``, the other inboxes are complete, and the error names the failed ones."""
    async with Sandbox(300, 3, quota=None) as sandbox, make_client(sandbox) as client:
        keeper = Keeper(client)
        forbidden = sandbox.inbox_ids[1]
        sandbox.forbid(forbidden)
        keeper.positions = dict.fromkeys(sandbox.inbox_ids, Position())
        with pytest.raises(InboxesFailedError) as caught:
            await keeper.walk()

        assert [error.inbox_id for error in caught.value.errors] == [forbidden]
        assert len(set(keeper.ids)) == sandbox.count() - sandbox.count(forbidden)

        sandbox.forbid()
        await keeper.walk()
        assert set(keeper.ids) == {id_ for id_, _ in sandbox.records()}
