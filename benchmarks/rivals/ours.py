"""This package with its defaults, but without a rate limit, which would be measured instead."""

from cekat_async import CekatClient

KEY = "benchmark"


async def walk(base_url: str) -> int:
    """Walk with ``list()``."""
    count = 0
    async with CekatClient(KEY, base_url=base_url, rate_limit=None) as cekat:
        async for conversation in cekat.conversations.list():
            count += conversation.id is not None
    return count
