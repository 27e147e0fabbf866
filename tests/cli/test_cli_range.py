"""``--since`` and ``--until`` of the commands."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from support.exports import read_manifest, read_target

from cekat_async.cli import ExitCode
from cekat_async.sandbox.data.timeline import NEWEST

LATEST = datetime.fromtimestamp(NEWEST / 1000, UTC)


def list_active(sandbox, since, until):
    first, last = (round(bound.timestamp() * 1000) for bound in (since, until))
    return {id_ for at, id_, _ in sandbox._listing.rows() if first <= at <= last}


def test_conversations_of_a_range(cekat, served):
    """In a pipe, a range of conversations is written, and few requests are sent."""
    since, until = LATEST - timedelta(hours=20), LATEST - timedelta(hours=10)
    with served(3000) as sandbox:
        ended = cekat("conversations", "--since", str(since), "--until", until.isoformat())
        wanted = list_active(sandbox, since, until)
        requests = len(sandbox.log.requests)
    found = {json.loads(line)["id"] for line in ended.out.splitlines()}

    assert ended.code == 0
    assert wanted <= found
    assert len(found) <= len(wanted) + 200
    assert requests < 8


def test_few_conversations_until_a_time(cekat, served):
    """Skipped pages are large, even if few conversations of the range are requested."""
    with served(3000) as sandbox:
        ended = cekat("conversations", "--until", str(LATEST - timedelta(days=2)), "-n", "2")
        requests = len(sandbox.log.requests)

    assert len(ended.out.splitlines()) == 2
    assert requests < 8


@pytest.fixture
def in_jakarta():
    """The time zone of this process is that of Jakarta."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system has no tzset")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "Asia/Jakarta")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_jakarta")
def test_a_local_date_and_a_duration(cekat, served):
    """A date is midnight in local time, whatever the machine's time zone is."""
    with served(3000) as sandbox:
        ended = cekat("export", "out.jsonl", "--since", "2026-04-10", "--until", "0s")
        begin = datetime(2026, 4, 9, 17, tzinfo=UTC)
        wanted = list_active(sandbox, begin, LATEST)
    filters = read_manifest("out.jsonl").filters

    assert ended.code == 0
    assert (filters.since, filters.since_time) == ("2026-04-10", begin)
    assert filters.until == "0s"
    assert wanted <= {json.loads(line)["id"] for line in read_target("out.jsonl")}


def test_a_nightly_setting(cekat, served, tmp_path, monkeypatch):
    """The options are settings too.

    An export replaces the target only if the text of its range is the same.
    """
    monkeypatch.setenv("CEKAT_SINCE", "5000d")
    with served(300):
        assert cekat("export", "out.jsonl").code == 0
        assert cekat("export", "out.jsonl").code == 0
        assert read_manifest("out.jsonl").filters.since == "5000d"
        monkeypatch.delenv("CEKAT_SINCE")
        (tmp_path / "cekat.toml").write_text('since = "6000d"')
        refused = cekat("export", "out.jsonl")

    assert refused.code == ExitCode.REPLACEMENT_REFUSED
    assert "all inboxes, since 5000d; this is all inboxes, since 6000d" in refused.err


@pytest.mark.parametrize("command", [("conversations",), ("export", "out.jsonl")])
@pytest.mark.parametrize(
    "options, reason",
    [
        (("--since", "yesterday"), "'--since': write it like 3d, 12h, 2026-11-01"),
        (("--until", "3"), "'--until': write it like 3d, 12h, 2026-11-01"),
        (("--since", "1d", "--since", "2d"), "it can be given only once"),
        (("--since", "1d", "--until", "3d"), "since must be before until"),
    ],
)
def test_wrong_ranges(cekat, command, options, reason):
    """The error says how to write a range, and no request is sent."""
    ended = cekat(*command, "--sandbox", *options)

    assert ended.code == ExitCode.USAGE
    assert reason in ended.complaint
