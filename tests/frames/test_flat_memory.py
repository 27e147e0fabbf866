"""The memory of a stream of record batches does not grow with the listing."""

import os
from pathlib import Path

import pytest
from support.effort import EFFORT
from support.malformed_records import record
from support.parts import make_client
from support.rawserver import RawServer, http

from cekat_async.frames import arrow_batches

STATM = Path("/proc/self/statm")
PAGES = 400 * EFFORT
GROWTH = 15_000_000


def resident():
    """Return the resident memory of the process in bytes."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Endless:
    """Answers ``PAGES`` times with a page of 100 records.

    Each page has new ids and a new cursor.
    """

    def __init__(self):
        records = (record(id=f"********-{number}") for number in range(100))
        self._body = b'{"data":[%b],"metadata":{"next_cursor":%%b}}' % b",".join(records).replace(
            b"%", b"%%"
        )
        self._number = 0

    def __call__(self, head):
        self._number += 1
        cursor = b'{"cursor_id":"%d","cursor_ts":"t"}' % self._number
        body = self._body % (cursor if self._number < PAGES else b"null")
        return http(body.replace(b"*" * 8, b"%08d" % self._number))


@pytest.mark.once
@pytest.mark.skipif(not STATM.exists(), reason="the size of a process is read from /proc")
async def test_batches_do_not_grow():
    """From its tenth batch to its last, a stream of 40,000 records grows by less than 15 MB.

    As a table, the same records take more than 80 MB.
    """
    sizes, rows, size = [], 0, 0
    async with RawServer(Endless()) as server, make_client(server) as client:
        async for batch in arrow_batches(client.conversations.list(), rows=1_000):
            sizes.append(resident())
            rows += batch.num_rows
            size += batch.nbytes

    assert rows == 100 * PAGES
    assert size > 3 * GROWTH
    assert max(sizes[10:]) - sizes[10] < GROWTH
