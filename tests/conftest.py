"""Fixtures for all tests: a clean environment, and a check that no task is left running."""

import gc
import inspect
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.clock import let_tasks_end
from support.effort import EFFORT
from support.parts import make_client

from cekat_async import CekatClient
from cekat_async.sandbox import Sandbox

# Examples have no deadline and may be generated slowly, so that no test fails because the machine
# is busy. Short runs in CI try the same examples each time, so that a new example does not fail an
# unrelated change. Developers' runs and long runs try new examples.
settings.register_profile(
    "calm",
    deadline=None,
    max_examples=30 * EFFORT,
    derandomize="CI" in os.environ and EFFORT == 1,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("calm")


def pytest_collection_finish() -> None:
    """Freeze the collected tests, so that the garbage collector does not scan them repeatedly."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _signals_reach_processes() -> Iterator[None]:
    """Let child processes handle signals by default, even if this process ignores some of them.

    A background job ignores Ctrl-C, and a process under nohup ignores hangups. A child process
    ignores the signals that its parent ignores, but it does not inherit handlers. Therefore, this
    fixture replaces "ignore" with a handler that does nothing.
    """
    python_ignores = {signal.SIGPIPE, signal.SIGXFSZ} if os.name == "posix" else set()
    ignored = [
        one
        for one in signal.valid_signals() - python_ignores
        if signal.getsignal(one) is signal.SIG_IGN
    ]
    for one in ignored:
        signal.signal(one, lambda *_: None)
    yield
    for one in ignored:
        signal.signal(one, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def _processes_share_bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let child processes share bytecode files, even if the environment forbids writing them.

    The files are in a temporary folder, so the source tree is not changed. Without these files,
    each process would compile the package again.
    """
    with pytest.MonkeyPatch.context() as environment:
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            environment.delenv("PYTHONDONTWRITEBYTECODE")
            environment.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a developer's key, proxies, passwords and pytest options from the environment."""
    for name in os.environ:
        if name.upper().startswith("CEKAT_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


@pytest.fixture
async def _watched_loop() -> AsyncIterator[None]:
    yield
    await let_tasks_end()


@pytest.fixture(autouse=True)
def _no_task_left(request: pytest.FixtureRequest) -> None:
    """Fail a test that leaves tasks behind in its event loop."""
    function = getattr(request, "function", None)
    if inspect.iscoroutinefunction(function):
        request.getfixturevalue("_watched_loop")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox with 250 conversations in 3 inboxes, and without a quota."""
    async with Sandbox(conversations=250, inboxes=3, quota=None, cache=1000) as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[CekatClient]:
    """A client that uses the sandbox, without a rate limit and with almost no backoff."""
    async with make_client(sandbox) as running:
        yield running
