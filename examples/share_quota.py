"""Count conversations by status. Several machines share one quota through Redis.

pip install 'cekat-async[redis]'
REDIS_URL=redis://:password@redis.internal:6379/0 python share_quota.py
"""

import asyncio
import os
from collections import Counter

from cekat_async import CekatClient, Limiter, RateLimit
from cekat_async.budgets import RedisBudget


async def main() -> None:
    """Print the number of conversations with each status."""
    # All processes with the same public address need the same name.
    async with RedisBudget(os.environ["REDIS_URL"], name="office") as budget:
        # While Redis cannot be reached, this process uses half of the quota.
        limiter = Limiter(RateLimit(300), budget=budget, share=0.5)
        async with CekatClient(rate_limit=limiter) as cekat:
            listing = cekat.conversations.list()
            statuses = Counter([conversation.stage_status async for conversation in listing])
    for status, count in statuses.most_common():
        print(f"{count:6,} {status}")


asyncio.run(main())
