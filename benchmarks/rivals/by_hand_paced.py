"""The hand-written loop with retries and a rate limit in the obvious place: around each page."""

import aiohttp
import msgspec
from aiolimiter import AsyncLimiter
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from rivals.by_hand import KEY, Page

# The rate is so high that nothing waits, because only the overhead is measured.
_PER_MINUTE = 100_000_000


async def walk(base_url: str) -> int:
    """Walk with aiohttp and msgspec. Fetch each page through tenacity and aiolimiter."""
    decoder, count = msgspec.json.Decoder(Page), 0
    cursor: dict[str, str] = {}
    limiter = AsyncLimiter(_PER_MINUTE, 60)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:

        @retry(
            retry=retry_if_exception_type((aiohttp.ClientError, TimeoutError)),
            wait=wait_exponential_jitter(),
            stop=stop_after_attempt(5),
            reraise=True,
        )
        async def fetch(query: dict[str, str]) -> Page:
            async with (
                limiter,
                session.get(f"{base_url}/api/conversations", params=query) as response,
            ):
                return decoder.decode(await response.read())

        while True:
            page = await fetch({"limit": "100", **cursor})
            for conversation in page.data:
                count += conversation.id is not None
            following = page.metadata.next_cursor
            if following.cursor_id is None or following.cursor_ts is None:
                return count
            cursor = {"cursor_id": following.cursor_id, "cursor_ts": following.cursor_ts}
