"""requests with a session and JSON decoding into dictionaries, as people use it today."""

from typing import Any

import requests

KEY = "benchmark"


def walk(base_url: str) -> int:
    """Walk with ``response.json()``, blocking."""
    count = 0
    cursor: dict[str, Any] = {}
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {KEY}"
        while True:
            query = {"limit": "100", **cursor}
            page = session.get(f"{base_url}/api/conversations", params=query, timeout=60).json()
            for conversation in page["data"]:
                count += conversation["id"] is not None
            cursor = page["metadata"]["next_cursor"]
            if cursor["cursor_id"] is None:
                return count
