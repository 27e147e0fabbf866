"""A Cekat API on this machine for all tests."""

from collections.abc import Iterator

import pytest

from cekat_async.sandbox import Quota, Sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with 50 conversations. The clients of the process keep the sandbox's address."""
    budget = tmp_path_factory.mktemp("budget") / "budget.sqlite"
    sandbox = Sandbox(conversations=50, quota=Quota(300))
    with sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CEKAT_API_KEY", sandbox.api_key)
        patch.setenv("CEKAT_BASE_URL", sandbox.base_url)
        patch.setenv("CEKAT_BUDGET_FILE", str(budget))
        yield sandbox
