"""Export every conversation to a file, and show which agents have the most conversations."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from cekat_async import CekatClient
from cekat_async.export import export_conversations

TARGET = Path("conversations.jsonl")


async def export() -> int:
    async with CekatClient() as cekat:
        report = await export_conversations(cekat, TARGET, incremental=True)
    return report.manifest.conversations


print(asyncio.run(export()), "conversations")

with TARGET.open(encoding="utf-8") as file:
    agents = Counter(json.loads(line)["handled_by_name"] for line in file)
for agent, count in agents.most_common(3):
    print(count, agent)
