"""Flask and Celery: the tests of the example, and a worker with several processes."""

import asyncio
import os
import re
import subprocess
import sys

import pytest
from celery import Celery
from support.clock import until

from cekat_async.budgets import FileBudget
from cekat_async.sandbox import FaultInjector, Quota, Sandbox

# Seconds. A budget forgets older requests, so the window is long enough for a slow machine.
WINDOW = 600


def test_its_tests_pass(copy_example, test_example):
    """The tests of the copied example pass, without a warning."""
    options = "-W error -p no:asyncio"  # there are no async tests

    assert "9 passed" in test_example(copy_example("flask_celery"), options)


@pytest.fixture
def account():
    """A sandbox in a thread, which reports its quota."""
    with Sandbox(250, quota=Quota(3000, per=WINDOW)) as sandbox:
        yield sandbox


def make_broker(folder):
    """Return Celery's options for a broker and a store of results, both in a folder."""
    paths = {name: folder / name for name in ("queue", "processed", "control", "results")}
    for path in paths.values():
        path.mkdir(parents=True)
    return {
        "broker_url": "filesystem://",
        "broker_transport_options": {
            "data_folder_in": str(paths["queue"]),
            "data_folder_out": str(paths["queue"]),
            "processed_folder": str(paths["processed"]),
            "control_folder": str(paths["control"]),
        },
        "result_backend": paths["results"].as_uri(),
    }


@pytest.fixture
def folder(copy_example):
    """A copy of the example, with a longer window than the default."""
    folder = copy_example("flask_celery")
    module = folder / "cekat_loop.py"
    text, found = re.subn(
        r"(?<=from cekat_async import )(.*)(?s:(.*))Limiter\(",
        rf"\1, RateLimit\2Limiter(RateLimit(3000, per={WINDOW}), ",
        module.read_text(encoding="utf-8"),
    )
    assert found == 1
    module.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def queue(folder, account):
    """An app that sends tasks, and a worker with two processes that runs them."""
    broker = make_broker(folder / "broker")
    (folder / "broker.py").write_text("\n".join(f"{k} = {v!r}" for k, v in broker.items()))
    environment = {
        "CEKAT_API_KEY": account.api_key,
        "CEKAT_BASE_URL": account.base_url,
        "CEKAT_BUDGET_FILE": str(folder / "budget.sqlite"),
        "CELERY_CONFIG_MODULE": "broker",
    }
    command = "-m celery --app celery_tasks worker --pool prefork --concurrency 2"
    with Celery("sender") as sender, (folder / "log").open("w") as log:
        sender.conf.update(broker)
        worker = subprocess.Popen(  # noqa: S603 - our own example
            [sys.executable, *command.split()],
            cwd=folder,
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        yield sender
        worker.terminate()
        worker.wait()
    assert account.api_key not in (folder / "log").read_text()


def send(queue, **options):
    """Send a task to the worker."""
    return queue.send_task("celery_tasks.count_pending", **options)


prefork = pytest.mark.skipif(os.name != "posix", reason="Celery's processes are for POSIX")


def test_the_default_budget_file_works(folder, account, tmp_path):
    """Without CEKAT_BUDGET_FILE, the budget is in the folder for temporary files."""
    settings = {name: text for name, text in os.environ.items() if name != "CEKAT_BUDGET_FILE"}
    counted = subprocess.run(
        [sys.executable, "-c", "import celery_tasks; print(celery_tasks.count_pending())"],
        cwd=folder,
        env=settings
        | {"CEKAT_API_KEY": account.api_key, "CEKAT_BASE_URL": account.base_url}
        | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(counted.stdout) == account.count(stage_status="pending")
    assert asyncio.run(count_taken(tmp_path / "cekat.sqlite")) == len(account.log.requests) + 1


@prefork
def test_the_processes_of_a_worker_share_one_budget(queue, account, folder):
    """Both processes read the API, and the budget counts the requests of both."""
    results = [send(queue) for _ in range(8)]
    expected = account.count(stage_status="pending")

    assert {result.get(timeout=300) for result in results} == {expected}
    assert asyncio.run(count_taken(folder / "budget.sqlite")) == len(account.log.requests) + 1


async def count_taken(path):
    """Return how many requests a budget has counted, including the take of this function."""
    async with FileBudget(path) as budget:
        return (await budget.take(3000, WINDOW)).used


@prefork
async def test_a_used_up_quota_postpones_the_task(queue, account):
    """The task does not fail: Celery runs it again when the quota is available."""
    account.exhaust_daily_quota(3600)
    result = send(queue)

    await until(lambda: result.state in {"RETRY", "FAILURE"})
    assert result.state == "RETRY"
    assert "Too many requests" in str(result.result)


@prefork
def test_a_time_limit_ends_one_task_only(queue, account):
    """A task that waits too long is ended. The next tasks use the same client."""
    FaultInjector(account).no_reply()
    late = send(queue, soft_time_limit=1)

    assert "SoftTimeLimitExceeded" in repr(late.get(timeout=300, propagate=False))
    assert send(queue).get(timeout=300) == account.count(stage_status="pending")
