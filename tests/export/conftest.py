"""A sandbox and a client of it, as the exports of these tests need them."""

from contextlib import asynccontextmanager

import msgspec
import pytest

from cekat_async import CekatClient, RetryPolicy
from cekat_async.sandbox import Sandbox


class Account:
    """A sandbox, and an open client of it."""

    def __init__(self, sandbox, client):
        self.sandbox = sandbox
        self.client = client

    def lines(self, **wanted):
        """Return what an export must hold: each record as the server has it, one a line."""
        records = [record for _, record in self.sandbox.records()]
        if wanted:
            records = [record for record in records if self._fits(record, wanted)]
        return b"".join(record + b"\n" for record in records)

    @staticmethod
    def _fits(record, wanted):
        values = msgspec.json.decode(record)
        return all(values[name] == value for name, value in wanted.items())


@pytest.fixture
def account():
    """A context manager that runs a sandbox and opens a client of it, both without a pace."""

    @asynccontextmanager
    async def account(conversations=250, *, attempts=8, rate_limit=None, quota=None, **options):
        async with (
            Sandbox(conversations, quota=quota, **options) as sandbox,
            CekatClient(
                sandbox.api_key,
                base_url=sandbox.base_url,
                rate_limit=rate_limit,
                retry=RetryPolicy(attempts=attempts, backoff=0.001),
            ) as client,
        ):
            yield Account(sandbox, client)

    return account


@pytest.fixture
def page_of():
    """A function that makes the body of a page out of the bytes of its records."""

    def page_of(*records, cursor=b"null"):
        data = b",".join(records)
        return b'{"success":true,"data":[%s],"metadata":{"next_cursor":%s}}' % (data, cursor)

    return page_of


@pytest.fixture
def target(tmp_path):
    """A target that does not exist yet."""
    return tmp_path / "conversations.jsonl"


@pytest.fixture
def partial(tmp_path):
    """The unfinished file that belongs to the target."""
    return tmp_path / "conversations.jsonl.partial"
