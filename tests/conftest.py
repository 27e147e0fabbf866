"""What all tests get: a clean environment, and a check that nothing is left running."""

import inspect
import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from support.clock import let_tasks_end

from cekat_async import CekatClient, RetryPolicy
from cekat_async.sandbox import Sandbox

# A loaded machine is no failure. And in CI the same cases are tried each time: new ones are for a
# developer to find, and not to fail somebody's change with.
settings.register_profile("calm", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("calm")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's key, proxies and passwords from having a say in the results."""
    for name in os.environ:
        if name.upper().startswith("CEKAT_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", os.devnull)


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
    """A server with 250 conversations in 3 inboxes, that grants any number of requests."""
    async with Sandbox(conversations=250, inboxes=3, quota=None) as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[CekatClient]:
    """A client of that sandbox, without a pace and with next to no backoff."""
    async with CekatClient(
        sandbox.api_key,
        base_url=sandbox.base_url,
        rate_limit=None,
        retry=RetryPolicy(backoff=0.001),
    ) as running:
        yield running
