"""Partitions: each inbox is walked separately, and a failing inbox does not stop the others."""

from contextlib import suppress

import pytest
from support.effort import EFFORT
from support.exports import read_account, read_target

from cekat_async import ConfigurationError, InboxesFailedError, PermissionDeniedError
from cekat_async.export import export_conversations
from cekat_async.sandbox import Fault


async def test_when_all_are_refused_the_target_stays(account, target):
    """If every inbox fails, the export fails and does not replace the target."""
    async with account(200, inboxes=2) as a:
        await export_conversations(a.client, target, by_inbox=True)
        a.sandbox.forbid(*a.sandbox.inbox_ids)
        with pytest.raises(InboxesFailedError) as caught:
            await export_conversations(a.client, target, by_inbox=True)

        assert all(isinstance(error, PermissionDeniedError) for error in caught.value.errors)
        assert read_target(target) == read_account(a.sandbox)


HTML = Fault.raw(body=b"<html>be back soon</html>")


@pytest.mark.parametrize("concurrency", [1, 3, 8])
@pytest.mark.parametrize("fault", [Fault.status(502), HTML, Fault.status(408)], ids=str)
@pytest.mark.parametrize("at", [4, 9, 15, 20] if EFFORT > 1 else [4, 20])
async def test_a_temporary_failure_is_resumed(account, target, concurrency, fault, at):
    """The next run fetches everything that is missing, wherever the first run failed."""
    async with account(500, inboxes=2, attempts=1) as a:
        a.sandbox.fail_next(*[Fault.ok()] * at, fault)
        # If a constructed cursor fails, the walk continues sequentially and nothing is
        # lost.
        with suppress(InboxesFailedError):
            await export_conversations(
                a.client, target, by_inbox=True, page_size=20, concurrency=concurrency
            )
            assert concurrency > 1
        report = await export_conversations(
            a.client, target, by_inbox=True, page_size=20, concurrency=concurrency
        )

        assert report.is_complete
        assert read_target(target) == read_account(a.sandbox)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.new", "x.jsonl.manifest.json"])
async def test_a_checkpoint_in_the_place_of_the_target(account, tmp_path, name):
    """A checkpoint path equal to the target is refused before any request or write."""
    async with account(5) as a:
        with pytest.raises(ConfigurationError, match="which belongs to the target"):
            await export_conversations(a.client, tmp_path / "x.jsonl", checkpoint=tmp_path / name)

        assert a.sandbox.log.requests == []
    assert not [*tmp_path.iterdir()]
