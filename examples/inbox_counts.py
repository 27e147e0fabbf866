"""Print the number of conversations of each inbox by status, in columns separated by tabs."""

import asyncio
from collections import Counter

from cekat_async import CekatClient


async def main() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    async with CekatClient() as cekat:
        # Reads eight inboxes at once. They share one rate limit.
        async for conversation in cekat.conversations.across(concurrency=8):
            # Every field except the id may be missing.
            inbox = conversation.inbox_name or "(no name)"
            counts[inbox, conversation.stage_status or "(no status)"] += 1

    print("inbox", "status", "conversations", sep="\t")
    for (inbox, status), count in sorted(counts.items()):
        print(inbox, status, count, sep="\t")


asyncio.run(main())
