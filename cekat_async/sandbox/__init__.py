"""A sandbox of the Cekat Conversations API: a real HTTP server on loopback, with made-up data.

It needs no key and no network beyond this machine, and the same seed gives the same bytes:

    import asyncio

    import aiohttp

    from cekat_async.sandbox import Fault, Quota, Sandbox


    async def main() -> None:
        async with Sandbox(conversations=1000, quota=Quota(60)) as sandbox:
            sandbox.fail_next(Fault.status(503, body="html"))
            headers = {"Authorization": f"Bearer {sandbox.api_key}"}
            async with aiohttp.ClientSession(sandbox.base_url, headers=headers) as session:
                for _ in range(2):
                    async with session.get("/api/conversations?limit=5") as reply:
                        print(reply.status, reply.headers["X-RateLimit-Remaining"])
            print(len(sandbox.log.requests), sandbox.log.most_in_any(60.0))


    asyncio.run(main())

What is known of the API is followed; where nothing is known, `Dialect` chooses. `Quota` says how
much the server grants, `Faults` and `Fault` what goes wrong, `Live` what happens in the account
while it is read, and `Sandbox.log` what the server saw.
"""

from .faults import Fault, Faults
from .log import Log, SeenRequest
from .options import Dialect, Live, Quota
from .server import Sandbox

__all__ = ["Dialect", "Fault", "Faults", "Live", "Log", "Quota", "Sandbox", "SeenRequest"]
