"""Exports of a time range: ``since`` and ``until`` are filters, resolved only once per export."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from support.accounts import close_inboxes, rotate_key
from support.exports import read_account, read_manifest, read_target
from support.parts import make_client

from cekat_async import (
    CheckpointError,
    ConfigurationError,
    ReplacementRefusedError,
    record_id,
)
from cekat_async.export import Filters, Manifest, checks, export_conversations, runner
from cekat_async.sandbox import Dialect, Live
from cekat_async.sandbox.data.timeline import NEWEST

LATEST = datetime.fromtimestamp(NEWEST / 1000, UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock(monkeypatch):
    """The clock that determines when an export begins. Set ``clock.now``."""

    class Clock(datetime):
        moment = LATEST + HOUR

        @classmethod
        def now(cls, tz=None):
            return cls.moment.astimezone(tz)

    for module in (runner, checks):
        monkeypatch.setattr(module, "datetime", Clock)
    return Clock


def list_active(sandbox, since, until=None):
    """Return the ids of the sandbox's conversations whose last activity is in a range."""
    first, last = (round(bound.timestamp() * 1000) for bound in (since, until or LATEST + HOUR))
    return {id_ for at, id_, _ in sandbox._listing.rows() if first <= at <= last}


def read_ids(target):
    return {record_id(record) for record in read_target(target)}


class StoppedError(Exception):
    """A test stopped an export."""


def stop_after(times):
    """Return a progress function that stops the export when it is called that many times."""
    called = count(1)

    def on_progress(_):
        if next(called) == times:
            raise StoppedError

    return on_progress


async def test_the_manifest_has_the_range_as_written_and_as_moments(account, target, clock):
    """The manifest has a duration as it was given, and the moment to which it was resolved."""
    until = LATEST - 2 * HOUR
    async with account(3_000) as a:
        report = await export_conversations(
            a.client, target, since=timedelta(hours=30), until=until
        )
        wanted = list_active(a.sandbox, LATEST - 29 * HOUR, until)

    filters = read_manifest(target).filters
    assert (filters.since, filters.since_time) == ("30h", LATEST - 29 * HOUR)
    assert (filters.until, filters.until_time) == (until.isoformat(), until)
    assert wanted <= read_ids(target)
    assert len(read_ids(target)) <= len(wanted) + 200
    assert report.requests < 20


def test_filters_without_a_range_are_stored_as_before():
    """The manifest of an export without a range has the form of version 0.1."""
    written = Manifest(
        version="1", account="a", target="t", filters=Filters(), began=LATEST, ended=LATEST
    )

    assert b"since" not in written.to_json()
    assert b'"stage_status": null' in written.to_json()
    assert Manifest.from_json(written.to_json()) == written


async def test_each_night_replaces_the_last_one(account, target, clock):
    """Only the text is compared: `1d` is the same filter every night."""
    async with account(3_000) as a:
        for night in range(3):
            clock.moment = LATEST + night * HOUR
            await export_conversations(a.client, target, since=timedelta(days=1))

            since = LATEST + (night - 24) * HOUR
            assert read_manifest(target).filters.since_time == since
            assert list_active(a.sandbox, since) <= read_ids(target)


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, {"since": 4 * HOUR}),
        ({"since": 4 * HOUR}, {}),
        ({"since": 4 * HOUR}, {"since": 9 * HOUR}),
        ({"until": LATEST}, {"until": LATEST - HOUR}),
    ],
)
async def test_another_range_does_not_replace_a_target(account, target, clock, before, after):
    """A full or incremental export with another range is refused, and the error names both."""
    async with account(500) as a:
        await export_conversations(a.client, target, **before)
        whole = read_target(target)

        with pytest.raises(ReplacementRefusedError, match=r"other filters .*(since|until) "):
            await export_conversations(a.client, target, **after)
        with pytest.raises(ReplacementRefusedError, match="other filters"):
            await export_conversations(a.client, target, incremental=True, **after)
        assert read_target(target) == whole

        await export_conversations(a.client, target, replace=True, **after)
        assert read_target(target) != whole


@pytest.mark.parametrize(
    "order, by_inbox", [("activity", False), ("activity", True), ("created", False)]
)
async def test_a_resumed_export_keeps_the_moments(account, target, clock, order, by_inbox):
    """A relative bound is resolved when the export begins, and not again when it resumes."""
    options = {"since": timedelta(days=4), "until": timedelta(days=1), "by_inbox": by_inbox}
    async with account(4_000, inboxes=3, dialect=Dialect(order=order)) as a:
        for pages in (1, 2, 1, 2):
            with pytest.raises(StoppedError):
                await export_conversations(
                    a.client, target, on_progress=stop_after(pages), concurrency=2, **options
                )
            clock.moment += timedelta(days=30)
        report = await export_conversations(a.client, target, **options)
        wanted = list_active(a.sandbox, LATEST + HOUR - timedelta(days=4), LATEST - 23 * HOUR)
        if order == "created":
            wanted &= {record_id(record) for record in read_account(a.sandbox)}

    assert report.manifest.runs == 5
    assert report.manifest.filters.since_time == LATEST + HOUR - timedelta(days=4)
    assert report.manifest.filters.until_time == LATEST + HOUR - timedelta(days=1)
    assert order == "created" or wanted <= read_ids(target)


async def test_a_checkpoint_of_another_range_is_refused(account, target, clock):
    """An unfinished export with another range is not resumed."""
    async with account(3_000) as a:
        with pytest.raises(StoppedError):
            await export_conversations(
                a.client, target, since=timedelta(days=2), on_progress=stop_after(2)
            )

        with pytest.raises(CheckpointError, match=r"other filters .*since 2d; .*since 3d"):
            await export_conversations(a.client, target, since=timedelta(days=3))


async def test_an_incremental_export_of_the_last_days(account, target, clock):
    """An incremental export adds the changes in the range and keeps conversations that left it."""
    async with account(3_000) as a:
        await export_conversations(a.client, target, since=timedelta(days=1), incremental=True)
        before = read_ids(target)
        moved = [id_ for id_, _ in a.sandbox.records()][2000:2300:3]
        for id_ in moved:
            a.sandbox.touch(id_)
        clock.moment += 2 * HOUR
        report = await export_conversations(
            a.client, target, since=timedelta(days=1), incremental=True
        )

        assert report.manifest.incremental
        assert before | {*moved} <= read_ids(target)
        assert list_active(a.sandbox, LATEST - 21 * HOUR) <= read_ids(target)
        assert report.requests <= 6


async def test_an_incremental_export_until_some_time_ago(account, target, clock):
    """A later ``until`` also includes unchanged conversations, so the whole range is read."""
    options = {"until": timedelta(hours=3), "incremental": True}
    async with account(400) as a:
        await export_conversations(a.client, target, **options)
        clock.moment += 20 * HOUR
        await export_conversations(a.client, target, **options)

        assert read_target(target) == read_account(a.sandbox)


async def test_a_clock_that_was_set_back(account, target, clock):
    """An earlier ``since`` selects additional conversations, so the whole range is read."""
    options = {"since": timedelta(hours=3), "incremental": True}
    async with account(800) as a:
        await export_conversations(a.client, target, **options)
        clock.moment -= 10 * HOUR
        await export_conversations(a.client, target, **options)

        assert list_active(a.sandbox, LATEST - 12 * HOUR) <= read_ids(target)


@pytest.mark.parametrize("segments", [1, 4])
async def test_a_live_account(account, target, clock, segments):
    """The target has every conversation that was in the range when the export began."""
    live = Live(messages=2, created=0.5, resolved=2)
    async with account(5_000, live=live) as a:
        wanted = list_active(a.sandbox, LATEST - 47 * HOUR)
        report = await export_conversations(
            a.client, target, since=timedelta(days=2), concurrency=segments
        )

    assert wanted <= read_ids(target)
    assert report.requests < 40


async def test_a_rotated_key_is_recognized_by_conversations_of_the_range(account, target, clock):
    """The export recognizes the account by conversations of the range, not by the newest ones."""
    options = {"until": LATEST - 5 * HOUR}
    async with account(600) as a:
        close_inboxes(a.sandbox)
        await export_conversations(a.client, target, **options)
        rotate_key(a.sandbox, "another-key")
        async with make_client(a.sandbox) as other:
            await export_conversations(other, target, **options)


@pytest.mark.parametrize(
    "bounds, reason",
    [
        ({"since": LATEST.replace(tzinfo=None)}, "since must have a time zone"),
        ({"until": 3}, "until must be a datetime"),
        ({"since": timedelta(1), "until": timedelta(2)}, "since must be before until"),
    ],
)
async def test_wrong_ranges_are_refused(account, target, bounds, reason):
    """A wrong range is refused before any request or write."""
    async with account(10) as a:
        with pytest.raises(ConfigurationError, match=reason):
            await export_conversations(a.client, target, **bounds)

        assert not a.sandbox.log.requests
    assert not target.exists()


async def test_a_database_keeps_the_range_with_the_manifest(account, store, clock):
    """The next export reads the range from the manifest in the database."""
    async with account(400) as a:
        for _ in range(2):
            report = await export_conversations(
                a.client, store.sink(), since=timedelta(hours=5), incremental=True
            )

    ((text,),) = store.ask("SELECT manifest FROM cekat_exports")
    assert Manifest.from_json(text).filters == report.manifest.filters
    assert report.manifest.filters.since == "5h"
    assert report.manifest.incremental
