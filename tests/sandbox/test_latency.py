"""The latency of replies, and the moment at which a reply reads the account."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest
from support.clock import now, run_virtual, until

from cekat_async.sandbox import Fault, Live, Log, Quota, Sandbox
from cekat_async.sandbox.api.replies import Reply
from cekat_async.sandbox.http.handler import Handler, HandlerOptions

REQUEST = SimpleNamespace(
    raw_path="/api/conversations",
    method="GET",
    headers={"Authorization": "Bearer key"},
    transport=None,
)


class SlowApi:
    """An API whose replies take some time on the virtual clock."""

    def __init__(self, seconds):
        self.seconds = seconds

    def answer(self, *_):
        asyncio.get_running_loop()._jumping.waited += self.seconds
        return Reply(200, b"{}")


def measure(latency, making, *faults):
    """Return the time of each reply, for sequential requests on a virtual clock."""
    handler = Handler(
        SlowApi(making), log := Log(), HandlerOptions("key", None, None, latency, None, 1)
    )
    handler.script.extend(faults)

    async def main():
        for _ in faults:
            await handler.handle(REQUEST, 1)
        times = [seen.time for seen in log.requests] + [asyncio.get_running_loop().time()]
        return [round(after - before, 6) for before, after in pairwise(times)]

    return run_virtual(main())


@pytest.mark.parametrize(
    "latency, making, expected",
    [(0.35, 0.0, 0.35), (0.35, 0.01, 0.35), (0.35, 0.3, 0.35), (0.1, 0.3, 0.3), (0.0, 0.3, 0.3)],
)
def test_the_whole_takes_the_latency(latency, making, expected):
    """A reply takes the latency, or the time to build it if that is longer."""
    assert measure(latency, making, Fault.ok(), Fault.ok()) == [expected] * 2


def test_every_kind_of_answer_takes_the_latency():
    """Replies with faults also take the latency, and a ``delay`` fault adds its own time."""
    faults = (Fault.status(503), Fault.raw(), Fault.drop(), Fault.truncate(), Fault.delay(0.5))
    assert measure(0.25, 0.1, *faults) == [0.25, 0.25, 0.25, 0.25, 0.75]


def test_replies_wait_concurrently():
    """Five concurrent replies take no longer than one."""
    handler = Handler(SlowApi(0.0), Log(), HandlerOptions("key", None, None, 0.1, None, 1))

    async def main():
        await asyncio.gather(*(handler.handle(REQUEST, number) for number in range(5)))
        return now()

    assert run_virtual(main()) == 0.1


@pytest.mark.parametrize("latency, faults", [(0.2, [Fault.ok()]), (0.0, [Fault.delay(0.2)])])
async def test_a_reply_shows_the_account_at_the_arrival(calling, latency, faults):
    """A reply does not contain changes that were made during its latency.

    The log has the status of a reply when the reply is sent.
    """
    async with Sandbox(30, latency=latency) as sandbox, calling(sandbox) as caller:
        before = [id_ for id_, _ in sandbox.records()]
        sandbox.fail_next(*faults)
        asking = asyncio.create_task(caller.page(limit=30))
        await until(lambda: sandbox.log.requests)
        sandbox.touch(before[20])
        sandbox.delete(before[3])
        sandbox.create()
        assert sandbox.log.requests[0].status is None
        assert [row["id"] for row in (await asking)["data"]] == before
        assert sandbox.log.requests[0].status == 200


async def test_live_events_happen_at_the_arrival(calling):
    """A page's events do not wait for its reply, and happen even if the client gives up."""
    async with Sandbox(30, latency=0.3, live=Live(created=1.0)) as sandbox:
        async with calling(sandbox) as caller:
            asking = asyncio.create_task(caller.page(limit=1))
            await until(lambda: sandbox.log.requests)
            assert sandbox.count() == 31
            asking.cancel()
            await until(lambda: not sandbox.log.open_connections)
        assert sandbox.log.requests[0].status is None
        assert sandbox.count() == 31


async def test_requests_meet_the_account_in_the_order_of_the_log(calling):
    """Each of several concurrent replies contains the changes that earlier requests caused."""
    live = Live(created=1.0)
    async with Sandbox(30, latency=0.05, live=live, quota=None) as sandbox:
        async with calling(sandbox) as caller:
            firsts = await asyncio.gather(*(caller.page(limit=n) for n in range(1, 9)))
        created = {id_: n for n, (id_, _) in enumerate(sandbox.records())}
    shown = {len(page["data"]): created[page["data"][0]["id"]] for page in firsts}
    asked = [int(seen.query.partition("=")[2]) for seen in sandbox.log.requests]
    assert [shown[limit] for limit in asked] == list(range(8, 0, -1))


async def test_the_quota_counts_at_the_arrival(calling):
    """The third of three concurrent requests is refused, and all have the latency."""
    async with (
        Sandbox(5, latency=0.05, quota=Quota(2, window="first_hit")) as sandbox,
        calling(sandbox) as caller,
    ):
        replies = await asyncio.gather(*(caller.get() for _ in range(3)))
        assert sorted(status for status, _, _ in replies) == [200, 200, 429]
        assert [seen.status for seen in sandbox.log.requests] == [200, 200, 429]
        assert all(msgspec.json.decode(body) for _, _, body in replies)
