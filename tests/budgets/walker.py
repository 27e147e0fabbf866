"""A process that walks all conversations: `walker.py KIND PLACE URL KEY REQUESTS PER SHARE`."""

import asyncio
import json
import logging
import sys

from cekat_async import CekatClient, Limiter, RateLimit
from cekat_async.budgets import FileBudget, RedisBudget


async def main(kind: str, place: str, url: str, key: str, *numbers: str) -> None:
    requests, per, share = map(float, numbers)
    kinds: dict[str, type[FileBudget | RedisBudget]] = {"redis": RedisBudget, "file": FileBudget}
    async with kinds[kind](place) as budget:
        limiter = Limiter(RateLimit(int(requests), per), budget=budget, share=share)
        async with CekatClient(key, base_url=url, rate_limit=limiter) as cekat:
            print("ready", flush=True)  # noqa: T201 - what starts it waits for that, to start all
            sys.stdin.readline()
            # Each page has one conversation, because only the number of requests matters.
            ids = [one.id async for one in cekat.conversations.list(page_size=1)]
    print(json.dumps(ids))  # noqa: T201 - its result


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    asyncio.run(main(*sys.argv[1:]))
