"""This package: every safety on, but for the pace, which is what is measured."""

from cekat_async import CekatClient

KEY = "benchmark"


async def walk(base_url: str) -> int:
    """Walk with ``list()``, all options as they come."""
    count = 0
    async with CekatClient(KEY, base_url=base_url, rate_limit=None) as cekat:
        async for conversation in cekat.conversations.list():
            count += conversation.id is not None
    return count
