"""Progress, report and manifest of an export."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from support.exports import read_manifest

from cekat_async import RateLimit, ServerError, __version__
from cekat_async.export import Counts, ExportProgress, ExportReport, Filters, export_conversations
from cekat_async.export.progress import ProgressTracker
from cekat_async.export.runner import Export
from cekat_async.export.sinks.files.json_lines import JsonLinesSink
from cekat_async.sandbox import Fault, Quota

# The first export asks for the business. If there are several pages, the export asks for the newest
# position after the first page, and looks at the front again after the last page.
ASK = PROBE = LOOK = 1
NOW = datetime(2026, 4, 10, tzinfo=UTC)


async def test_progress_is_reported_whenever_more_is_durable(account, target):
    """Progress never decreases, and in the end it counts all received records and repeats."""
    reported = []
    async with account(1000) as a:
        report = await export_conversations(
            a.client, target, page_size=20, on_progress=reported.append
        )

    assert reported
    for name in ("conversations", "pages", "requests", "retries", "seconds", "malformed_records"):
        values = [getattr(progress, name) for progress in reported]
        assert values == sorted(values)
    # On a slow machine, progress is also reported while the target is being written.
    reported = [progress for progress in reported if progress.published is None]
    assert (reported[-1].conversations, reported[-1].pages) == (
        report.manifest.fetched,
        report.pages,
    )
    assert report.seconds >= reported[-1].seconds > 0


async def test_reported_progress_is_durable(account, target):
    """When progress is reported, another connection to the checkpoint already sees the records."""
    seen = []

    def on_progress(progress):
        copy = target.with_name("copy")
        copy.write_bytes(target.with_name(f"{target.name}.checkpoint").read_bytes())
        with closing(sqlite3.connect(copy)) as database:
            (kept,) = database.execute("SELECT count(*) FROM names").fetchone()
            (pages,) = database.execute("SELECT sum(pages) FROM partitions").fetchone()
            (totals,) = database.execute("SELECT totals FROM job").fetchone()
        totals = msgspec.json.decode(totals)
        seen.append((kept, pages) == (progress.conversations, progress.pages))
        seen.append((totals["records"], totals["pages"]) == (kept, pages))

    async with account(500) as a:
        await export_conversations(a.client, target, page_size=20, on_progress=on_progress)

    assert seen
    assert all(seen)


async def test_the_report_tells_what_was_done(account, target):
    """The report has the target and this export's numbers, including retries."""
    rate = RateLimit(100_000, 60)
    async with account(250, rate_limit=rate) as a:
        await a.client.conversations.page(limit=1)
        a.sandbox.fail_next(Fault.status(500), Fault.ok(), Fault.drop())
        report = await export_conversations(a.client, target, concurrency=1)

    assert isinstance(report, ExportReport)
    assert report.target == str(target)
    assert (report.conversations, report.pages) == (250, 3 + LOOK)
    # The probe is not counted as a page.
    assert (report.requests, report.retries) == (ASK + PROBE + 3 + LOOK + 2, 2)
    assert (report.malformed_records, report.refused, report.resumed) == (0, 0, 0)
    assert (report.limit, report.per) == (100_000, 60)
    assert report.published == 250


@pytest.mark.parametrize("options", [{}, {"by_inbox": True}, {"concurrency": 1}], ids=str)
async def test_report_and_manifest_agree(account, target, options):
    """The manifest next to the target agrees with the report and with the target."""
    began = datetime.now(UTC)
    async with account(500) as a:
        refusal = Fault.status(429, headers={"Retry-After": "0"})
        a.sandbox.fail_next(Fault.ok(), Fault.drop(), refusal)
        report = await export_conversations(a.client, target, page_size=30, **options)
        requests, unknown = len(a.sandbox.log.requests), a.lines().count(b'"x_sla":')
        account_name, inboxes = a.client.account, len(a.sandbox.inbox_ids)

    manifest = read_manifest(target)
    assert report.manifest == manifest
    assert (manifest.target, manifest.account) == (report.target, account_name)
    assert (manifest.format, manifest.version) == (1, __version__)
    assert manifest.filters == Filters(by_inbox=options.get("by_inbox", False))
    assert (manifest.incremental, manifest.complete, manifest.runs) == (False, True, 1)
    assert began < manifest.began < manifest.ended < datetime.now(UTC)
    lines = target.read_bytes().splitlines()
    assert manifest.conversations == report.conversations == len(lines) == 500
    assert manifest.fetched - manifest.repeats == 500
    assert manifest.requests == report.requests == requests
    assert (manifest.retries, manifest.refused) == (report.retries, report.refused) == (2, 1)
    assert manifest.pages == report.pages
    assert 0 < manifest.seconds <= report.seconds  # this includes writing the target
    assert manifest.unknown_fields.keys() == {"x_sla"}
    assert manifest.unknown_fields["x_sla"] >= unknown > 0
    assert manifest.checksum == f"sha256:{hashlib.sha256(target.read_bytes()).hexdigest()}"
    assert sum(one.records for one in manifest.partitions) == manifest.fetched
    assert sum(one.pages for one in manifest.partitions) == manifest.pages
    assert len(manifest.partitions) == (inboxes if "by_inbox" in options else 1)
    assert all(one.position is not None for one in manifest.partitions)


async def test_the_numbers_of_all_runs_are_in_the_manifest(account, target):
    """The report counts the last run of a resumed export, and the manifest counts all runs."""
    async with account(500, attempts=2) as a:
        a.sandbox.fail_next(*[Fault.ok()] * 7, Fault.status(500), Fault.status(500))
        with pytest.raises(ServerError):
            await export_conversations(a.client, target, page_size=20, concurrency=1)
        before = len(a.sandbox.log.requests)
        reported = []
        report = await export_conversations(
            a.client, target, page_size=20, concurrency=1, on_progress=reported.append
        )
        requests = len(a.sandbox.log.requests)

    manifest = read_manifest(target)
    assert (before, report.resumed) == (ASK + PROBE + 5 + 2, 100)
    assert reported[0].conversations == 120
    assert reported[0].per_minute == 60 * 20 / reported[0].seconds
    assert report.requests == requests - before
    # The failed run's last request is missing, because nothing was stored after it.
    assert requests - 2 <= manifest.requests <= requests
    assert manifest.pages == report.pages == 25 + LOOK
    assert (manifest.runs, manifest.conversations) == (2, 500)
    # All records arrived before the target was written.
    assert manifest.seconds > reported[-1].seconds


async def test_the_next_export_knows_what_to_expect(account, tmp_path, target):
    """The expected number is that of the last export with the same filters, or None."""
    reported = []
    async with account(60) as a:
        for options in ({}, {}, {"stage_status": "resolved", "replace": True}):
            await export_conversations(
                a.client, target, page_size=20, on_progress=reported.append, **options
            )
            reported.append(None)

    runs = [set(), set(), set()]
    for progress in reported:
        if progress is None:
            runs.append(runs.pop(0))
        else:
            runs[0].add(progress.expected)
    assert runs == [{None}, {60}, {None}]


def test_how_long_it_will_take():
    """``seconds_left`` follows from the speed of this run.

    Without an expected number, ``seconds_left`` is None.
    """
    progress = ExportProgress(
        fetched=600, conversations=600, resumed=100, expected=850, seconds=50.0
    )

    assert progress.seconds_left == 25
    assert msgspec.structs.replace(progress, conversations=900).seconds_left == 0
    assert msgspec.structs.replace(progress, expected=None).seconds_left is None
    assert msgspec.structs.replace(progress, fetched=100).seconds_left is None


async def test_an_account_may_have_a_name(account, target):
    """The manifest contains the given account name, and never the key."""
    async with account(5) as a:
        await export_conversations(a.client, target, account="the shop")
        key = a.sandbox.api_key

    assert read_manifest(target).account == "the shop"
    assert key not in target.with_name(f"{target.name}.manifest.json").read_text()


async def test_the_report_has_the_limit_that_was_found_out(account, target):
    """The report has the server's quota as it is known at the end of the export."""
    async with account(250, rate_limit=RateLimit(), quota=Quota(120)) as a:
        report = await export_conversations(a.client, target)

    assert (report.limit, report.per) == (120, 60)
    assert report.quota_share == 1.0


async def test_the_report_counts_refusals(account, target):
    """The report counts the 429 replies of this export, and no earlier ones."""
    refusal = Fault.status(429, headers={"Retry-After": "0"})
    async with account(250) as a:
        a.sandbox.fail_next(refusal)
        await a.client.conversations.page(limit=1)
        a.sandbox.fail_next(Fault.ok(), refusal, refusal)
        report = await export_conversations(a.client, target)

    assert (report.refused, report.retries) == (2, 2)


async def test_without_a_pace_there_is_no_share_of_it(account, target):
    """Without a rate limit, the report has no quota share."""
    async with account(5) as a:
        report = await export_conversations(a.client, target)

    assert (report.limit, report.earned) == (None, 0.0)
    assert report.quota_share is None


async def test_the_share_begins_with_the_export(account, target):
    """The quota share ignores the quota that was unused before the export began."""
    async with account(250, rate_limit=RateLimit(100_000, 60)) as a:
        await a.client.conversations.page(limit=1)
        await asyncio.sleep(0.05)
        report = await export_conversations(a.client, target)

    assert a.client.limiter.snapshot().sent == report.requests + 1
    assert 0 < report.earned <= report.limit / report.per * report.seconds


def test_conversations_a_minute():
    """``per_minute`` is the average of this run, including repeats, and is 0 before any record."""
    progress = ExportProgress(fetched=600, conversations=300, resumed=100, seconds=20.0)

    assert progress.per_minute == 1500
    assert ExportProgress().per_minute == 0


class Scripted:
    """A client whose limiter state is set by the test."""

    def __init__(self):
        self.limiter = self
        self.traffic = SimpleNamespace(requests=0, retries=0)
        self.limit, self.earned = 300, 1000.0
        self.waiting = self.in_flight = 0

    def snapshot(self):
        return SimpleNamespace(
            limit=self.limit, per=60.0, earned=self.earned, refused=0,
            waiting=self.waiting, in_flight=self.in_flight,
        )  # fmt: skip


async def test_the_share_follows_a_changing_limit():
    """The quota share compares requests with the limit that applied when they were sent."""
    client = Scripted()
    tracker = ProgressTracker(client)
    client.traffic.requests = 300 + 50
    client.earned += 300 + 60  # one minute at a limit of 300, and one minute at 60
    client.limit = 60
    progress = tracker.progress()

    assert (progress.limit, progress.earned) == (60, 360.0)
    assert progress.quota_share == pytest.approx(350 / 360)


async def test_waiting_for_the_limiter_is_measured(monkeypatch):
    """``waited`` is the time during which requests waited and none was in flight."""
    monkeypatch.setattr("cekat_async.export.progress._SECONDS_BETWEEN_LOOKS", 0.001)
    client = Scripted()
    tracker = ProgressTracker(client)
    async with tracker.watch_limiter():
        await asyncio.sleep(0.02)
        assert tracker.progress().waited == 0
        client.waiting = 1
        await asyncio.sleep(0.05)

    progress = tracker.progress()
    assert 0 < progress.waited <= progress.seconds


def test_counts_are_added():
    """Adding two counts adds each number, and adds the numbers of unknown fields by name."""
    one = Counts(pages=1, seconds=0.5, unknown_fields={"x": 1, "y": 2})
    other = Counts(pages=2, seconds=1.0, unknown_fields={"x": 3})

    assert one + other == Counts(pages=3, seconds=1.5, unknown_fields={"x": 4, "y": 2})


async def test_all_runs_are_summed_up():
    """The totals include the earlier runs and this one."""
    client = Scripted()
    before = Counts(
        runs=2, pages=3, fetched=4, malformed_records=1, unknown_fields={"x": 3}, requests=9,
        retries=2, refused=1, seconds=1000.0, waited=30.0,
    )  # fmt: skip
    tracker = ProgressTracker(client)
    tracker.resume(before, None)
    client.traffic.requests, client.traffic.retries = 5, 1
    totals = tracker.totals()

    assert totals.seconds >= 1000
    assert msgspec.structs.replace(totals, seconds=0) == Counts(
        runs=3, pages=3, fetched=4, malformed_records=1, unknown_fields={"x": 3}, requests=14,
        retries=3, refused=1, seconds=0, waited=30.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "requests, earned, share",
    [(0, 0.0, 0.0), (150, 300.0, 0.5), (300, 300.0, 1.0), (3, 0.5, 1.0), (900, 0.0, 1.0)],
)
def test_share_of_the_quota(requests, earned, share):
    """``quota_share`` is the number of sent requests divided by the number allowed, at most 1."""
    progress = ExportProgress(requests=requests, earned=earned, limit=300, per=60.0)

    assert progress.quota_share == pytest.approx(share)


async def test_progress_has_the_number_to_be_written(account, target):
    """While the target is being written, progress has the number of different conversations."""
    seen = []

    class Watched(JsonLinesSink):
        def write(self, records, output):
            super().write(_watched(records), output)

    def _watched(records):
        for batch in records:
            seen.append((export._tracker.published, export._tracker.to_publish))
            yield batch

    async with account(500) as a:
        export = Export(a.client, Watched(target), filters=Filters())
        report = await export.run(page_size=20)

    assert seen[-1] == (500, 500)
    assert {to_publish for _, to_publish in seen} == {500}
    assert (report.published, report.to_publish) == (500, 500)
