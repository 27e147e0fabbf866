"""Progress and report: what an export says about itself."""

import asyncio
from types import SimpleNamespace

import pytest

from cekat_async import RateLimit
from cekat_async.export import ExportProgress, ExportReport, export_conversations
from cekat_async.export.runner import _Tally
from cekat_async.sandbox import Fault, Quota


async def test_progress_is_told_after_each_page(account, target):
    """Progress comes once a page, never goes back, and ends as the report begins."""
    told = []
    async with account(250) as a:
        report = await export_conversations(a.client, target, on_progress=told.append)

    assert [p.conversations for p in told] == [100, 200, 250]
    assert [p.pages for p in told] == [1, 2, 3]
    # The next page is under way when one is told of.
    assert [p.requests for p in told] == [2, 3, 3]
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)
    assert (told[-1].conversations, told[-1].pages) == (report.conversations, report.pages)
    assert report.seconds >= told[-1].seconds > 0


async def test_the_report_tells_what_was_done(account, target):
    """The report has the target and the numbers of this export, retries among them."""
    rate = RateLimit(100_000, 60)
    async with account(250, rate_limit=rate) as a:
        await a.client.conversations.page(limit=1)
        a.sandbox.fail_next(Fault.status(500), Fault.ok(), Fault.drop())
        report = await export_conversations(a.client, target)

    assert isinstance(report, ExportReport)
    assert report.target == str(target)
    assert (report.conversations, report.pages) == (250, 3)
    # The page that was asked for before is not counted.
    assert (report.requests, report.retries) == (5, 2)
    assert (report.odd_records, report.refused) == (0, 0)
    assert (report.limit, report.per) == (100_000, 60)


async def test_the_report_has_the_limit_that_was_found_out(account, target):
    """What the server says of its quota, the report says too, as it was at the end."""
    async with account(250, rate_limit=RateLimit(), quota=Quota(120)) as a:
        report = await export_conversations(a.client, target)

    assert (report.limit, report.per) == (120, 60)
    assert report.quota_share == 1.0


async def test_the_report_counts_refusals(account, target):
    """Each 429 of this export counts, and none of those before it."""
    refusal = Fault.status(429, headers={"Retry-After": "0"})
    async with account(250) as a:
        a.sandbox.fail_next(refusal)
        await a.client.conversations.page(limit=1)
        a.sandbox.fail_next(Fault.ok(), refusal, refusal)
        report = await export_conversations(a.client, target)

    assert (report.refused, report.retries) == (2, 2)


async def test_without_a_pace_there_is_no_share_of_it(account, target):
    """A client without a rate limit has no quota that a share could be of."""
    async with account(5) as a:
        report = await export_conversations(a.client, target)

    assert (report.limit, report.earned) == (None, 0.0)
    assert report.quota_share is None


async def test_only_this_export_earns(account, target):
    """What the quota would have let out before the export began is not held against it."""
    async with account(250, rate_limit=RateLimit(100_000, 60)) as a:
        await a.client.conversations.page(limit=1)
        await asyncio.sleep(0.05)
        report = await export_conversations(a.client, target)

    assert a.client.limiter.snapshot().sent == report.requests + 1
    assert 0 < report.earned <= report.limit / report.per * report.seconds


def test_conversations_a_minute():
    """``per_minute`` is the average since the beginning, and 0 before anything."""
    assert ExportProgress(conversations=500, seconds=20.0).per_minute == 1500
    assert ExportProgress().per_minute == 0


class Scripted:
    """A client whose limiter stands as it is told."""

    def __init__(self):
        self.limiter = self
        self.traffic = SimpleNamespace(requests=0, retries=0)
        self.limit, self.earned = 300, 1000.0

    def snapshot(self):
        return SimpleNamespace(limit=self.limit, per=60.0, earned=self.earned, refused=0)


async def test_the_share_is_honest_when_the_limit_changes():
    """The requests of a time count against the limit of that time, not against today's."""
    client = Scripted()
    tally = _Tally(client, None)
    client.traffic.requests = 300 + 50
    client.earned += 300 + 60  # a minute at 300, and one at 60
    client.limit = 60
    progress = tally.progress()

    assert (progress.limit, progress.earned) == (60, 360.0)
    assert progress.quota_share == pytest.approx(350 / 360)


@pytest.mark.parametrize(
    "requests, earned, share",
    [(0, 0.0, 0.0), (150, 300.0, 0.5), (300, 300.0, 1.0), (3, 0.5, 1.0), (900, 0.0, 1.0)],
)
def test_share_of_the_quota(requests, earned, share):
    """``quota_share`` is what went out of what the limit would have let out, at most 1."""
    progress = ExportProgress(requests=requests, earned=earned, limit=300, per=60.0)

    assert progress.quota_share == pytest.approx(share)
