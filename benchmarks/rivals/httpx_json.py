"""httpx, with JSON decoding into dictionaries."""

from typing import Any

import httpx

KEY = "benchmark"


async def walk(base_url: str) -> int:
    """Walk with ``response.json()``."""
    count = 0
    cursor: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers) as client:
        while True:
            response = await client.get("/api/conversations", params={"limit": "100", **cursor})
            page = response.json()
            for conversation in page["data"]:
                count += conversation["id"] is not None
            cursor = page["metadata"]["next_cursor"]
            if cursor["cursor_id"] is None:
                return count
