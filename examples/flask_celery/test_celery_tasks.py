"""Tests of the Celery tasks. The worker runs in a thread, and the broker is in memory."""

from collections.abc import Iterator
from pathlib import Path

import celery_tasks
import pytest
from celery.contrib.testing.worker import start_worker

from cekat_async.sandbox import Sandbox


@pytest.fixture(scope="module", autouse=True)
def _worker() -> Iterator[None]:
    """A worker that runs the tasks."""
    celery_tasks.app.conf.update(broker_url="memory://", result_backend="cache+memory://")
    with start_worker(celery_tasks.app, perform_ping_check=False):
        yield


def test_pending_conversations_are_counted(sandbox: Sandbox) -> None:
    """A task returns the number of pending conversations."""
    expected = sandbox.count(stage_status="pending")

    assert celery_tasks.count_pending.delay().get(timeout=60) == expected > 0


def test_conversations_are_exported(sandbox: Sandbox, tmp_path: Path) -> None:
    """A task writes all conversations to a file."""
    target = tmp_path / "conversations.jsonl"

    assert celery_tasks.export.delay(str(target)).get(timeout=60) == sandbox.count()
    assert len(target.read_bytes().splitlines()) == sandbox.count()
