"""Scripted and random faults, as a client sees them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import islice

import aiohttp
import msgspec
import pytest
from support.clock import until

from cekat_async.sandbox import Dialect, Fault, FaultInjector, Faults, Quota, Sandbox


@pytest.fixture
async def sandbox():
    async with Sandbox(20) as sandbox:
        yield sandbox


@pytest.mark.parametrize("wrong", ["503", 503, Faults(), None])
async def test_what_is_no_fault_is_refused(sandbox, caller, wrong):
    """Scripting anything but a fault raises an error, and the next requests succeed."""
    for add in (sandbox.fail_next, FaultInjector(sandbox).add):
        with pytest.raises(ValueError, match=r"a fault must be a Fault such as .*, not "):
            add(wrong)

    assert (await caller.get())[0] == 200


async def test_the_script_is_played_first_and_in_order(sandbox, caller):
    """Each scripted fault applies to one of the next requests, and to no other request."""
    sandbox.fail_next(Fault.status(500), Fault.ok(), Fault.status(503))
    sandbox.fail_next(Fault.status(504))
    assert [(await caller.get())[0] for _ in range(5)] == [500, 200, 503, 504, 200]
    assert [seen.fault for seen in sandbox.log.requests] == [
        "status",
        None,
        "status",
        "status",
        None,
    ]


@pytest.mark.parametrize(
    "body, kind, start",
    [
        ("json", "application/json; charset=utf-8", b'{"success":false,"error":{"code":"HTTP_503"'),
        ("html", "text/html; charset=utf-8", b"<html>"),
        ("empty", "application/octet-stream", b""),
    ],
)
async def test_an_error_status_has_one_of_three_bodies(sandbox, caller, body, kind, start):
    """The body of a faulty reply is JSON, HTML or empty, and the reply has additional headers."""
    sandbox.fail_next(Fault.status(503, body=body, headers={"Retry-After": "7"}))
    status, headers, got = await caller.get()
    assert status == 503
    assert got.startswith(start)
    assert bool(got) is bool(start)
    assert headers.get("Content-Type", "application/octet-stream") == kind
    assert headers["Retry-After"] == "7"
    assert "X-Request-Id" in headers


async def test_a_drop_closes_the_connection_before_any_byte(sandbox, caller):
    """The client sees a disconnection, and the log has a request without a status."""
    sandbox.fail_next(Fault.drop())
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.get()
    seen = sandbox.log.requests[-1]
    assert (seen.fault, seen.status) == ("drop", None)
    assert (await caller.get())[0] == 200


async def test_a_drop_on_a_used_connection_is_sent_again_by_some_clients(sandbox, calling):
    """After a drop on a used connection, aiohttp repeats a GET by itself, and both are logged."""
    async with calling(sandbox, middlewares=()) as caller:
        await caller.get()
        sandbox.fail_next(Fault.drop())
        assert (await caller.get())[0] == 200
    assert [seen.fault for seen in sandbox.log.requests] == [None, "drop", None]
    assert [seen.connection for seen in sandbox.log.requests] == [1, 1, 2]


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
async def test_a_drop_in_mid_body_sends_a_part(sandbox, caller, keep):
    """The client receives status, length and a part of the body, and then a disconnection."""
    sandbox.fail_next(Fault.drop_mid_body(keep))
    async with caller.session.get("/api/conversations") as reply:
        assert reply.status == 200
        received = b""
        with pytest.raises(aiohttp.ClientPayloadError):  # noqa: PT012 - the loop is what raises
            async for chunk in reply.content.iter_any():
                received += chunk
        assert len(received) == int(reply.content_length * keep)
    assert sandbox.log.requests[-1].fault == "drop_mid_body"
    assert sandbox.log.served == 0


async def test_a_truncated_body_is_a_whole_reply_with_half_a_json(sandbox, caller):
    """The HTTP reply is complete, but its JSON is not."""
    whole = (await caller.get())[2]
    sandbox.fail_next(Fault.truncate())
    status, headers, body = await caller.get()
    assert status == 200
    assert body == whole[: len(whole) // 2]
    assert int(headers["Content-Length"]) == len(body)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)
    assert sandbox.log.served == 1


async def test_a_truncated_body_can_be_compressed_as_well(calling):
    """The JSON is truncated before compression, so the compressed body is complete."""
    async with Sandbox(20, dialect=Dialect(compress="gzip")) as sandbox, calling(sandbox) as caller:
        sandbox.fail_next(Fault.truncate(0.25))
        _, headers, body = await caller.get()
        assert headers["Content-Encoding"] == "gzip"
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(body)


async def test_a_delay_sends_the_reply_late(sandbox, caller):
    """A delayed reply is otherwise the usual one."""
    usual = (await caller.get())[2]
    sandbox.fail_next(Fault.delay(0.15))
    started = time.perf_counter()
    assert (await caller.get())[2] == usual
    assert time.perf_counter() - started >= 0.15
    assert sandbox.log.served == 2


async def test_a_hang_never_answers(sandbox, caller):
    """A hanging request is logged without a status.

    When the client gives up, the connection closes.
    """
    sandbox.fail_next(Fault.hang())
    asking = asyncio.create_task(caller.get())
    await until(lambda: sandbox.log.requests)
    await asyncio.wait([asking], timeout=0.1)
    assert not asking.done()
    asking.cancel()
    assert (sandbox.log.requests[-1].fault, sandbox.log.requests[-1].status) == ("hang", None)
    await until(lambda: not sandbox.log.open_connections)


async def test_a_trickle_arrives_in_small_pieces(sandbox, caller):
    """The body is complete in the end, but arrives in many pieces."""
    usual = (await caller.get(limit=1))[2]
    sandbox.fail_next(Fault.trickle(0.001, size=100))
    async with caller.session.get("/api/conversations?limit=1") as reply:
        pieces = [piece async for piece in reply.content.iter_any()]
    assert b"".join(pieces) == usual
    assert len(pieces) > 3


@pytest.mark.parametrize(
    "fault, status, kind, body",
    [
        (Fault.raw(body=b" <html>hi</html>"), 200, "text/html; charset=utf-8", b" <html>hi</html>"),
        (Fault.raw(body=b'{"success":false}'), 200, "application/json", b'{"success":false}'),
        (Fault.raw(), 200, "application/json", b""),
        (Fault.raw(418, b"\xff\x00", {"content-type": "x/y"}), 418, "x/y", b"\xff\x00"),
        (Fault.raw(body=b"[" * 3_000_000), 200, "application/json", b"[" * 3_000_000),
    ],
)
async def test_any_reply_at_all_can_be_scripted(sandbox, caller, fault, status, kind, body):
    """The reply has the given status, body and headers, without the usual headers."""
    sandbox.fail_next(fault)
    got, headers, content = await caller.get()
    assert (got, headers["Content-Type"], content) == (status, kind, body)
    assert "X-Request-Id" not in headers
    assert "X-RateLimit-Limit" not in headers


async def test_bytes_that_are_not_http_can_be_sent(sandbox, caller):
    """``wire`` sends bytes unchanged and closes the connection."""
    sandbox.fail_next(Fault.wire(b"SSH-2.0-OpenSSH_9.6\r\n"))
    with pytest.raises(aiohttp.ClientResponseError):
        await caller.get()
    sandbox.fail_next(Fault.wire(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    assert (await caller.get())[2] == b"{}"


async def test_scripted_faults_count_against_the_quota(calling):
    """A scripted 503 uses up quota, and a request over the quota still gets its scripted fault."""
    async with (
        Sandbox(5, quota=Quota(1, window="first_hit")) as sandbox,
        calling(sandbox) as caller,
    ):
        sandbox.fail_next(Fault.status(503), Fault.ok(), Fault.status(502))
        assert [(await caller.get())[0] for _ in range(4)] == [503, 429, 502, 429]


async def test_random_faults_spare_refused_requests(calling):
    """A request over the quota gets its 429, and no random fault is drawn for it."""
    quota = Quota(1, window="first_hit")
    async with (
        Sandbox(5, quota=quota, faults=Faults(error=1.0)) as sandbox,
        calling(sandbox) as caller,
    ):
        assert [(await caller.get())[0] for _ in range(3)] == [500, 429, 429]
        assert [seen.fault for seen in sandbox.log.requests] == ["error", None, None]


def test_random_faults_are_the_same_for_the_same_seed():
    """The seed determines the sequence of faults, and another seed gives another sequence."""
    one, two = (list(islice(Faults(error=0.3, drop=0.3, seed=4).draws(), 50)) for _ in range(2))
    assert one == two
    assert one != list(islice(Faults(error=0.3, drop=0.3, seed=5).draws(), 50))


def test_random_faults_have_the_given_chances():
    """In ten thousand draws, each fault's share is near its chance, and the rest are normal."""
    faults = Faults(drop=0.05, drop_mid_body=0.1, error=0.2, truncate=0.05, too_many=0.1, slow=0.15)
    drawn = Counter(fault.name for fault in islice(faults.draws(), 10_000))
    for name, chance in [*faults.probabilities(), ("", 0.35)]:
        assert abs(drawn[name] / 10_000 - chance) < 0.015, name


def test_random_errors_take_turns():
    """All four statuses and all three bodies occur."""
    errors = list(islice(Faults(error=1.0).draws(), 12))
    assert [fault.code for fault in errors[:5]] == [500, 502, 503, 504, 500]
    assert len({(fault.code, fault.body) for fault in errors}) == 12


@pytest.mark.parametrize("after, said", [(0.0, "0"), (0.25, "0.25"), (3.0, "3"), (None, None)])
async def test_a_429_without_a_reason_has_a_retry_after(calling, after, said):
    """``too_many`` does not depend on the quota, and sends the given ``Retry-After``."""
    faults = Faults(too_many=1.0, retry_after=after)
    async with Sandbox(5, faults=faults) as sandbox, calling(sandbox) as caller:
        status, headers, _ = await caller.get()
        assert (status, headers.get("Retry-After")) == (429, said)
        assert headers["X-RateLimit-Remaining"] == "299"
        assert (sandbox.log.requests[-1].fault, sandbox.log.refused) == ("too_many", 1)


@pytest.mark.parametrize(
    "faults, status",
    [
        (Faults(drop=1.0), None),
        (Faults(drop_mid_body=1.0), 200),
        (Faults(error=1.0), 500),
        (Faults(truncate=1.0), 200),
        (Faults(slow=1.0, slow_by=0.05), 200),
    ],
)
async def test_each_random_fault_happens_and_is_named(calling, faults, status):
    """Each chance causes its fault, and the log has the name of that fault."""
    name = next(name for name, probability in faults.probabilities() if probability)
    async with (
        Sandbox(5, faults=faults) as sandbox,
        calling(sandbox) as caller,
    ):
        started = time.perf_counter()
        try:
            got = (await caller.get())[0]
        except aiohttp.ClientError:
            assert name in {"drop", "drop_mid_body"}
        else:
            assert got == status
        took = time.perf_counter() - started
        assert [(seen.fault, seen.status) for seen in sandbox.log.requests] == [(name, status)]
        assert (took >= 0.05) >= (name == "slow")
