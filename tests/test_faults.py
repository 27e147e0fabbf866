"""Walks over a bad network: every record arrives exactly once."""

import logging

import pytest
from support.effort import EFFORT
from support.hanging import hangs_skipped
from support.parts import collect, make_client

from cekat_async import RetryPolicy, Timeout
from cekat_async.sandbox import Dialect, Fault, Faults, Sandbox

pytestmark = pytest.mark.once

# Several drops in a row are possible, and must not end a walk.
STUBBORN = RetryPolicy(attempts=30, backoff=0.001, backoff_max=0.01)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_a_walk_over_a_bad_line_loses_and_doubles_nothing(seed):
    """If a quarter of all replies are faulty, every record still arrives once and unchanged."""
    faults = Faults(
        drop=0.05, drop_mid_body=0.05, error=0.05, truncate=0.05, too_many=0.05, seed=seed
    )
    dialect = Dialect(compress="gzip" if seed % 2 else None, tie=seed)
    async with (
        Sandbox(2500, seed=seed, quota=None, faults=faults, dialect=dialect) as sandbox,
        make_client(sandbox, retry=STUBBORN) as client,
    ):
        pages = await collect(client.conversations.list(page_size=25).pages())
        raw = [bytes(record) for page in pages for record in page.raw]
        ids = [conversation.id for page in pages for conversation in page]
        records = list(sandbox.records())

    assert raw == [record for _, record in records]
    assert ids == [id_ for id_, _ in records]
    assert len(sandbox.log.requests) == client.traffic.requests
    assert client.traffic.retries == client.traffic.requests - len(pages) > 10


@pytest.mark.parametrize("attempts, each", [(25, 0.1), (8, 0.05), (8, 0.02)])
async def test_a_long_walk_is_not_ended_by_the_retry_budget(attempts, each):
    """A long walk is complete even if up to two in five requests fail.

    Each call succeeds after some retries, which refills the client's retry budget.
    """
    pages = 750 if EFFORT > 1 else 300
    faults = Faults(drop=each, drop_mid_body=each, error=each, truncate=each, seed=5)
    policy = RetryPolicy(attempts=attempts, backoff=0.0001, backoff_max=0.0001)
    async with (
        Sandbox(2 * pages, quota=None, faults=faults) as sandbox,
        make_client(sandbox, retry=policy) as client,
    ):
        ids = [conversation.id async for conversation in client.conversations.list(page_size=2)]
        expected = [id_ for id_, _ in sandbox.records()]

    assert ids == expected
    assert client.traffic.retries > pages * 4 * each * 0.8


async def test_each_kind_of_fault_is_survived_many_times(caplog):
    """A page arrives even if each kind of fault occurs twice in a row."""
    kinds = [
        Fault.drop(),
        Fault.drop_mid_body(),
        Fault.drop_mid_body(keep=0),
        Fault.truncate(),
        Fault.truncate(keep=0),
        Fault.status(500),
        Fault.status(502, body="html"),
        Fault.status(503, body="empty"),
        Fault.status(504, body="html"),
        Fault.status(429, headers={"Retry-After": "0"}),
        Fault.raw(body=b"<html>all is well</html>"),
        Fault.raw(body=b""),
        Fault.wire(b"HTTP/1.1 200 OK\r\nContent-Le"),
        Fault.wire(b"\x16\x03\x01\x02\x00"),
        Fault.hang(),
    ]
    policy = RetryPolicy(attempts=31, backoff=0.001, backoff_max=0.001)
    async with (
        Sandbox(100, quota=None) as sandbox,
        make_client(sandbox, retry=policy, timeout=Timeout(read=30.0)) as client,
        hangs_skipped(sandbox, 31.0),
    ):
        sandbox.fail_next(*(kind for kind in kinds for _ in range(2)))
        with caplog.at_level(logging.INFO, "cekat_async"):
            page = await client.conversations.page()

    assert len(page) == 100
    assert client.traffic.retries == len(caplog.records) == 30
