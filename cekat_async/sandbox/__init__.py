"""A sandbox of the Cekat Conversations API: a real HTTP server on loopback, with generated data.

The sandbox needs no key of your own and no network connection. The same seed gives the same bytes:

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

The sandbox follows the API's documentation. ``Dialect`` chooses the behaviour that the
documentation does not define. ``Quota`` sets how many requests the server grants, ``Faults`` and
``Fault`` set which requests fail, and ``Live`` sets what changes in the account while a client
reads it. ``Sandbox.log`` lists every request. ``with Sandbox()`` runs the server in a thread, for
synchronous code.

Start reading in ``server.py``. It uses ``http`` (the path of one request), ``api`` (endpoints and
cursors), ``behaviour`` (quotas, faults, live mode) and ``data`` (the records).
"""

from cekat_async.sandbox.behaviour.fault_injector import FaultInjector
from cekat_async.sandbox.behaviour.faults import Fault, Faults
from cekat_async.sandbox.log import Log, SeenRequest
from cekat_async.sandbox.options import Dialect, Live, Quota
from cekat_async.sandbox.server import Sandbox

__all__ = [
    "Dialect",
    "Fault",
    "FaultInjector",
    "Faults",
    "Live",
    "Log",
    "Quota",
    "Sandbox",
    "SeenRequest",
]
