"""Exports whose servers are down for some time."""

import pytest

from cekat_async import CekatClient, NotSentError, RetryPolicy, ServerError, TargetError
from cekat_async.export import export_conversations
from cekat_async.sandbox import Fault


def rows_in(url):
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT raw::text FROM conversations").fetchall()
    return sorted(raw.encode() for (raw,) in found)


@pytest.mark.once
async def test_a_database_server_that_stops_and_starts_again(account, postgres, database, tmp_path):
    """Conversations that were fetched while the database was down are written later."""
    checkpoint = tmp_path / "checkpoint"
    async with account(1500) as a:
        stops = [postgres.stop]

        def stop(progress):
            if progress.pages >= 5 and stops:
                stops.pop()()

        with pytest.raises(TargetError, match="cannot write postgresql://"):
            await export_conversations(
                a.client, database, concurrency=1, checkpoint=checkpoint, on_progress=stop
            )
        with pytest.raises(TargetError):
            await export_conversations(a.client, database, checkpoint=checkpoint)
        asked = len(a.sandbox.log.requests)
        postgres.start()
        report = await export_conversations(a.client, database, checkpoint=checkpoint)

        assert len(a.sandbox.log.requests) - asked <= 2
        assert rows_in(database) == sorted(record for _, record in a.sandbox.records())
        assert report.manifest.runs == 2
        assert not checkpoint.exists()


async def test_a_server_that_goes_away_costs_the_pages_in_flight(account, target):
    """If the API becomes unreachable, the next run resumes after the last stored page."""
    async with account(3000, attempts=1) as a:
        a.sandbox.fail_next(*[Fault.ok()] * 12, *[Fault.status(503)] * 50)
        with pytest.raises(ServerError):
            await export_conversations(a.client, target)
        assert not target.exists()
        asked = len(a.sandbox.log.requests)
        a.sandbox._handler.script.clear()
        report = await export_conversations(a.client, target)

        assert len(a.sandbox.log.requests) - asked <= 30 - 10 + 8 + 8
        assert sorted(target.read_bytes().splitlines()) == sorted(
            record for _, record in a.sandbox.records()
        )
        assert report.manifest.runs == 2


async def test_a_network_that_is_not_there(target):
    """If the API cannot be reached, the export leaves no files."""
    retry = RetryPolicy(attempts=2, backoff=0.001)
    async with CekatClient("key", base_url="http://127.0.0.1:1", retry=retry) as client:
        with pytest.raises(NotSentError):
            await export_conversations(client, target)

    assert [*target.parent.iterdir()] == []
