"""A script like those that many accounts have. Do not copy it."""

import json
import os
import time

import requests

URL = os.environ.get("CEKAT_BASE_URL", "https://api.cekat.ai") + "/api/conversations"
KEY = os.environ["CEKAT_API_KEY"]
PAUSE = float(os.environ.get("PAUSE", "7"))

rows: list[object] = []
cursor: dict[str, str] = {}
while True:
    try:
        response = requests.get(
            URL, headers={"Authorization": f"Bearer {KEY}"}, params={"limit": "100", **cursor}
        )
        page = response.json()
        rows.extend(page["data"])
        cursor = page["metadata"]["next_cursor"]
        if not cursor["cursor_id"]:
            break
    except:
        break
    time.sleep(PAUSE)

with open("conversations.jsonl", "w") as file:
    for row in rows:
        file.write(json.dumps(row) + "\n")
print(len(rows), "conversations")
