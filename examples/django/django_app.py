"""Conversations for a browser: async views of Django in front of the Cekat API.

Run it with the key in CEKAT_API_KEY:

    pip install cekat-async django uvicorn
    uvicorn django_app:application

The settings are in this file, so that the example is a single file. Your own project only needs
``Application``, the middleware and the views.
"""

import asyncio
import logging
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import django
from asgiref.sync import markcoroutinefunction
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from cekat_async import (
    BadRequestError,
    CekatClient,
    CekatError,
    ConfigurationError,
    DeadlineExceededError,
    MalformedRecord,
    NotFoundError,
    RateLimitError,
    ServerError,
    Timeout,
)

# Seconds. A browser does not wait for the default of five minutes.
DEADLINE = 20

log = logging.getLogger(__name__)

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    MIDDLEWARE=[f"{__name__}.CekatErrorMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "only for this example"),
)
django.setup(set_prefix=False)


class Application:
    """Django, and one client for all requests of the process."""

    def __init__(self) -> None:
        self._django: Any = get_asgi_application()
        self._cekat: CekatClient | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle the events that Django does not handle: the start and the end of the process."""
        if scope["type"] == "lifespan":
            await receive()  # "lifespan.startup"
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self.open_client())
                except CekatError as error:  # for example, CEKAT_API_KEY is not set
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
                await receive()  # "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await self._django({**scope, "cekat": self._cekat}, receive, send)

    @asynccontextmanager
    async def open_client(self) -> AsyncGenerator[None]:
        """Open the client that the views use."""
        async with CekatClient(timeout=Timeout(deadline=DEADLINE)) as self._cekat:
            yield


class CekatErrorMiddleware:
    """Answers with the status that fits an error of the API.

    The text of such an error never contains the key.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self._get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle a request."""
        return await self._get_response(request)

    async def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return a response for an error of the client. Leave all other errors to Django."""
        headers: dict[str, str] = {}
        match error:
            case BadRequestError() | ConfigurationError():
                status = 422
            case NotFoundError():
                status = 404
            case RateLimitError() | ServerError(status=503):
                status = 503
                if error.retry_after is not None:
                    headers["Retry-After"] = str(math.ceil(error.retry_after))
            case DeadlineExceededError():
                status = 504
            case CekatError():
                status = 502
            case _:
                return None
        log.warning("%s", error)  # with the advice, which is for you and not for the browser
        content = {"detail": error.message, "request_id": error.request_id}
        return JsonResponse(content, status=status, headers=headers)


def get_cekat(request: Any) -> CekatClient:
    """Return the client of the process."""
    cekat: CekatClient = request.scope["cekat"]
    return cekat


def log_malformed(record: MalformedRecord) -> None:
    """Log a malformed record without its content, which is a customer's data."""
    log.warning("record %d of a page is malformed: %s", record.index, record.reason)


async def list_conversations(request: HttpRequest) -> HttpResponse:
    """Return the newest conversations with a status."""
    status = request.GET.get("status")
    page = await get_cekat(request).conversations.page(
        limit=20, stage_status=status, on_malformed=log_malformed
    )
    return HttpResponse(page.to_json(), content_type="application/json")


async def stream_conversations(request: HttpRequest) -> HttpResponseBase:
    """Return all conversations as JSON Lines while they are being fetched."""
    status = request.GET.get("status")
    # There is no deadline for each page: a page that waits for the quota would cut the stream.
    patient = get_cekat(request).with_options(timeout=Timeout())
    pages = patient.conversations.list(stage_status=status).raw_pages()
    # The first page is fetched before the reply begins, so that an error still has a status.
    try:
        async with asyncio.timeout(DEADLINE):
            first = await anext(pages)
    except TimeoutError as error:
        raise DeadlineExceededError(f"no reply within {DEADLINE} s") from error

    async def lines() -> AsyncIterator[bytes]:
        async with aclosing(pages):
            yield first.json_lines()
            async for page in pages:
                yield page.json_lines()

    return StreamingHttpResponse(lines(), content_type="application/jsonl")


urlpatterns = [
    path("conversations", list_conversations),
    path("conversations.jsonl", stream_conversations),
]

application = Application()
