"""Progress and report: what an export says about itself."""

import pytest

from cekat_async import RateLimit
from cekat_async.export import ExportProgress, ExportReport, export_conversations
from cekat_async.sandbox import Fault


async def test_progress_is_told_after_each_page(account, target):
    """Progress comes once a page, never goes back, and ends as the report begins."""
    told = []
    async with account(250) as a:
        report = await export_conversations(a.client, target, on_progress=told.append)

    assert [p.conversations for p in told] == [100, 200, 250]
    assert [p.pages for p in told] == [1, 2, 3]
    assert [p.requests for p in told] == [1, 2, 3]
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
    assert (report.odd_records, report.rate_limit) == (0, rate)


async def test_without_a_pace_there_is_no_share_of_it(account, target):
    """A client without a rate limit has no quota that a share could be of."""
    async with account(5) as a:
        report = await export_conversations(a.client, target)

    assert report.rate_limit is None
    assert report.quota_share is None


def test_conversations_a_minute():
    """``per_minute`` is the average since the beginning, and 0 before anything."""
    assert ExportProgress(conversations=500, seconds=20.0).per_minute == 1500
    assert ExportProgress().per_minute == 0


@pytest.mark.parametrize(
    "requests, seconds, share",
    [(0, 0.0, 0.0), (150, 60.0, 0.5), (300, 60.0, 1.0), (3, 0.1, 1.0), (900, 180.0, 1.0)],
)
def test_share_of_the_quota(requests, seconds, share):
    """``quota_share`` is what went out of what the pace allows, at most 1."""
    progress = ExportProgress(requests=requests, seconds=seconds, rate_limit=RateLimit(300, 60))

    assert progress.quota_share == pytest.approx(share)
