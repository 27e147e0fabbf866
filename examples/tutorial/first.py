"""Print five conversations that wait for an agent."""

import asyncio

from cekat_async import CekatClient


async def main() -> None:
    async with CekatClient() as cekat:
        waiting = cekat.conversations.list(stage_status="pending")
        for conversation in await waiting.take(5):
            print(conversation.inbox_name, conversation.contact_name, sep=" | ")


asyncio.run(main())
