"""Print the conversations that wait for an agent."""

import asyncio

from cekat_async import CekatClient


async def main() -> None:
    async with CekatClient() as cekat:
        async for conversation in cekat.conversations.list(stage_status="pending"):
            print(conversation.id, conversation.inbox_name, conversation.contact_name)


asyncio.run(main())
