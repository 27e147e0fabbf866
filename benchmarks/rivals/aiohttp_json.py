"""aiohttp, with its own JSON decoding into dictionaries."""

from typing import Any

import aiohttp

KEY = "benchmark"


async def walk(base_url: str) -> int:
    """Walk with ``response.json()``."""
    count = 0
    cursor: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            query = {"limit": "100", **cursor}
            async with session.get(f"{base_url}/api/conversations", params=query) as response:
                page = await response.json()
            for conversation in page["data"]:
                count += conversation["id"] is not None
            cursor = page["metadata"]["next_cursor"]
            if cursor["cursor_id"] is None:
                return count
