"""A context manager that returns a listing of any given records."""

import re
from contextlib import asynccontextmanager

import pytest
from support.parts import make_client
from support.rawserver import RawServer, http

from cekat_async import RetryPolicy


@pytest.fixture
def listed():
    """A context manager that serves pages of records as JSON, and returns a listing of them.

    Its arguments are the pages, as lists of records, and the options of the listing.
    """

    @asynccontextmanager
    async def listed(*pages, resource="conversations", **options):
        def answer(head):
            found = re.search(rb"cursor_id=(\d+)", head)
            return http(build_page(pages, int(found[1]) if found else 0))

        async with (
            RawServer(answer) as server,
            make_client(server, retry=RetryPolicy(attempts=1)) as client,
        ):
            yield getattr(client, resource).list(**options)

    return listed


def build_page(pages, number):
    """Return the body of a page. The cursor of the page is the number of the next page."""
    cursor = b'"%d"' % (number + 1) if number + 1 < len(pages) else b"null"
    pair = b'{"cursor_id":%b,"cursor_ts":%b}' % (cursor, cursor)
    data = b",".join(pages[number]) if pages else b""
    return b'{"success":true,"data":[%b],"metadata":{"next_cursor":%b}}' % (data, pair)
