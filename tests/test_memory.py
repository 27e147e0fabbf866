"""The memory that a long walk uses does not grow."""

import json
import os
import re
from pathlib import Path

import pytest
from support.effort import EFFORT
from support.rawserver import RawServer, http

from cekat_async import CekatClient, RetryPolicy
from cekat_async.sandbox import Dialect, Sandbox

STATM = Path("/proc/self/statm")
PAGES = 600 * EFFORT
GROWTH = 10_000_000
ONCE = RetryPolicy(attempts=1)


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Prepared:
    """Answers each request with the same page, but with a new first id and a new cursor."""

    def __init__(self, records: list[bytes]) -> None:
        rest = json.dumps(
            {"metadata": {"next_cursor": {"cursor_id": "********", "cursor_ts": "t"}}}
        )
        first = re.sub(rb'^{"id":"[^"]{8}', b'{"id":"********', records[0])
        data = b",".join([first, *records[1:]])
        body = b'{"success":true,"data":[' + data + b"]," + rest.encode()[1:]
        self._page = http(body)
        self._last = http(re.sub(rb'"cursor_id":.*', b'"cursor_id":null}}}', body))

    def __call__(self, head: bytes) -> bytes:
        found = re.search(rb"cursor_id=(\d+)", head)
        number = int(found[1]) + 1 if found else 1
        return self._last if number == PAGES else self._page.replace(b"*" * 8, b"%08d" % number)


@pytest.mark.once
@pytest.mark.skipif(not STATM.exists(), reason="the size of a process is read from /proc")
async def test_a_long_walk_does_not_grow():
    """After page 50 of a walk of 60,000 conversations, memory grows by less than 10 MB."""
    # Use plain records, because this test is about pages and not about repairs.
    plain = Dialect(unknown_fields=False, collections_null=0.0)
    records = [record for _, record in Sandbox(100, dialect=plain).records()]
    sizes: list[int] = []
    async with (
        RawServer(Prepared(records)) as server,
        CekatClient("key", base_url=server.base_url, rate_limit=None, retry=ONCE) as client,
    ):
        server.heads = _Forgetful()
        count = 0
        async for _ in client.conversations.list():
            count += 1
            if count % 5_000 == 0:
                sizes.append(resident())

    assert count == 100 * PAGES
    assert max(sizes) - sizes[0] < GROWTH


class _Forgetful(list):
    """A list that ignores new items, so that the server's list of requests stays empty."""

    def append(self, _: object) -> None:
        pass
