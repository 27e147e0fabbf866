"""Conversations for a browser: async views of Django in front of the Cekat API.

Run it with the key in CEKAT_API_KEY:

    pip install cekat-async django uvicorn
    uvicorn django_app:application

The settings are in this file, so that the example is one file. In a project of yours, only
``Application``, the middleware and the views are needed.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing, asynccontextmanager
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
    NotFoundError,
    RateLimitError,
    Timeout,
)

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
            async with self.open_client():
                await send({"type": "lifespan.startup.complete"})
                await receive()  # "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await self._django({**scope, "cekat": self._cekat}, receive, send)

    @asynccontextmanager
    async def open_client(self) -> AsyncGenerator[None]:
        """Open the client that the views use."""
        # A browser does not wait for five minutes.
        async with CekatClient(timeout=Timeout(deadline=20)) as self._cekat:
            yield


class CekatErrorMiddleware:
    """Answers with the status that fits an error of the API. Its text never holds the key."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self._get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle a request."""
        return await self._get_response(request)

    async def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return a response for an error of the client, and leave all others to Django."""
        match error:
            case BadRequestError() | ConfigurationError():
                status = 422
            case NotFoundError():
                status = 404
            case RateLimitError():
                status = 503
            case DeadlineExceededError():
                status = 504
            case CekatError():
                status = 502
            case _:
                return None
        content = {"detail": error.message, "request_id": error.request_id}
        return JsonResponse(content, status=status)


def get_cekat(request: Any) -> CekatClient:
    """Return the client of the process."""
    cekat: CekatClient = request.scope["cekat"]
    return cekat


async def list_conversations(request: HttpRequest) -> HttpResponse:
    """Return the newest conversations with a status."""
    status = request.GET.get("status")
    page = await get_cekat(request).conversations.page(limit=20, stage_status=status)
    return HttpResponse(page.to_json(), content_type="application/json")


async def stream_conversations(request: HttpRequest) -> HttpResponseBase:
    """Return all conversations as JSON Lines, while they are being fetched."""
    status = request.GET.get("status")
    pages = get_cekat(request).conversations.list(stage_status=status).raw_pages()
    # The first page is fetched before the reply begins, so that an error still has a status.
    first = await anext(pages)

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
