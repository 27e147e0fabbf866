"""Exports of live accounts: no conversation is lost, repeated or out of date."""

import logging
from collections import Counter

import msgspec
import pytest
from support.effort import EFFORT

from cekat_async import PaginationError, ServerError
from cekat_async.export import export_conversations
from cekat_async.sandbox import Dialect, Fault, Live


def records_in(target):
    """Return the records of a target by id, and check that each id occurs once."""
    found = [(msgspec.json.decode(line)["id"], line) for line in target.read_bytes().splitlines()]
    counts = Counter(id_ for id_, _ in found)
    assert counts.most_common(1)[0][1] == 1
    return dict(found)


def activity(record):
    """Return the time of a conversation's last activity, as text that sorts by time."""
    message = msgspec.json.decode(record)["last_message"] or {}
    return message.get("created_at") or ""


# Moves after each page. The sandbox serves some hundred pages a second, so the last value means
# more than a thousand moves a second.
@pytest.mark.parametrize("messages", [0.05, 1.0, 5.0, 12.0])
@pytest.mark.parametrize("seed", range(2 * EFFORT))
@pytest.mark.once
async def test_nothing_is_lost_or_twice_while_people_chat(account, target, messages, seed):
    """The target has each conversation that existed at the start, as it was then or later."""
    live = Live(messages=messages, created=messages / 20, resolved=messages / 20, seed=seed)
    async with account(700, seed=seed, live=live) as a:
        before = dict(a.sandbox.records())
        report = await export_conversations(a.client, target, page_size=50 if seed % 2 else 100)

        found = records_in(target)
        assert found.keys() >= before.keys()
        assert all(activity(found[id_]) >= activity(before[id_]) for id_ in before)
        assert report.conversations == len(found)


@pytest.mark.parametrize(
    "dialect",
    [
        Dialect(order="created"),
        Dialect(order="ascending"),
        Dialect(order="ascending", end="empty_page"),
        Dialect(end="echo", timestamps="space"),
        Dialect(tie=40),
        Dialect(density="bursty", made_up_cursors="reject"),
        Dialect(made_up_cursors="ignore"),
    ],
    ids=lambda d: f"{d.order}-{d.end}-{d.tie}-{d.made_up_cursors}",
)
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_nothing_is_lost_in_any_order(account, target, dialect, concurrency):
    """In every order, the target has each conversation that existed at the start once."""
    # In ascending order, conversations move to the end, so a walk may never reach the end.
    rate = 0.3 if dialect.end == "empty_page" else 1.0
    live = Live(messages=rate, created=rate / 5, seed=5)
    async with account(300, dialect=dialect, live=live) as a:
        before = dict(a.sandbox.records())
        await export_conversations(a.client, target, page_size=20, concurrency=concurrency)

        assert records_in(target).keys() >= before.keys()


async def test_the_latest_version_is_kept(account, target):
    """If a conversation is fetched several times, its last version is written."""
    async with account(400, attempts=1) as a:
        ids = [id_ for id_, _ in a.sandbox.records()]
        newest, oldest = ids[0], ids[-1]
        a.sandbox.fail_next(*[Fault.ok()] * 4, Fault.status(500))
        with pytest.raises(ServerError):
            await export_conversations(a.client, target, page_size=50, concurrency=1)
        a.sandbox.touch(oldest)
        a.sandbox.resolve(newest)
        a.sandbox.touch(newest)
        report = await export_conversations(a.client, target, page_size=50, concurrency=1)

        found = records_in(target)
        assert found[oldest] == a.sandbox.record(oldest)
        assert found[newest] == a.sandbox.record(newest)
        assert report.manifest.repeats == report.manifest.fetched - 400 > 0


@pytest.mark.parametrize("messages", [0, 2])
async def test_what_catching_up_costs(account, target, messages):
    """On a quiet account, three requests are needed besides the pages.

    On a busy account, more are needed, because changes fill additional pages.
    """
    async with account(2500, live=Live(messages=messages)) as a:
        report = await export_conversations(a.client, target, concurrency=1)

        # The three requests are for the account's business, a probe, and a last look at the front.
        # A hundred moves add a probe, two pages and another look.
        assert report.requests <= 25 + 3 + (4 if messages else 0)


async def test_an_account_that_changes_too_fast_is_not_called_complete(account, target):
    """If more than a page changes between two requests, the export fails and says why."""
    async with account(600, live=Live(messages=300)) as a:
        with pytest.raises(PaginationError, match="changes faster than it is read"):
            await export_conversations(a.client, target)

    assert not target.exists()


async def test_a_listing_without_an_order_is_reported(account, target, caplog):
    """A listing without an order causes a warning, and an ordinary listing causes none."""
    caplog.set_level(logging.WARNING, "cekat_async")
    async with account(400) as a:
        await export_conversations(a.client, target)

    assert caplog.records == []
