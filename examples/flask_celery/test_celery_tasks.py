"""Tests of the Celery tasks, in a worker in a thread, with a broker in memory."""

from collections.abc import Iterator

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
