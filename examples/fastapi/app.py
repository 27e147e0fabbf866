"""Conversations for a browser: a FastAPI app in front of the Cekat API.

Run it with the key in CEKAT_API_KEY:

    pip install cekat-async fastapi uvicorn
    uvicorn app:app
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse

from cekat_async import (
    BadRequestError,
    CekatClient,
    CekatError,
    ConfigurationError,
    ConversationPage,
    Cursor,
    DeadlineExceededError,
    Inbox,
    MalformedRecord,
    NotFoundError,
    RateLimitError,
    ServerError,
    StageStatus,
    Timeout,
)

# Seconds. A browser does not wait for the default of five minutes.
DEADLINE = 20

log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open one client for all requests. They share its connections and its quota."""
    async with CekatClient(timeout=Timeout(deadline=DEADLINE)) as app.state.cekat:
        yield


app = FastAPI(title="Conversations", lifespan=lifespan)


def get_cekat(request: Request) -> CekatClient:
    """Return the client of the app."""
    cekat: CekatClient = request.app.state.cekat
    return cekat


def get_cursor(cursor_id: str | None = None, cursor_ts: str | None = None) -> Cursor | None:
    """Return the cursor whose two strings a browser sends back.

    Without them, return None, which means the first page.
    """
    if cursor_id is None and cursor_ts is None:
        return None
    if cursor_id is None or cursor_ts is None:
        raise HTTPException(422, "cursor_id and cursor_ts belong together")
    return Cursor(cursor_id, cursor_ts)


Cekat = Annotated[CekatClient, Depends(get_cekat)]


def log_malformed(record: MalformedRecord) -> None:
    """Log a malformed record without its content, which is a customer's data."""
    log.warning("record %d of a page is malformed: %s", record.index, record.reason)


@app.get("/conversations")
async def list_conversations(
    cekat: Cekat,
    cursor: Annotated[Cursor | None, Depends(get_cursor)],
    status: StageStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> ConversationPage:
    """Return one page. ``metadata.next_cursor`` leads to the next page."""
    return await cekat.conversations.page(
        limit=limit, stage_status=status, cursor=cursor, on_malformed=log_malformed
    )


@app.get("/conversations.jsonl")
async def stream_conversations(
    cekat: Cekat, status: StageStatus | None = None
) -> StreamingResponse:
    """Return all conversations as JSON Lines while they are being fetched."""
    # There is no deadline for each page: a page that waits for the quota would cut the stream.
    patient = cekat.with_options(timeout=Timeout())
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

    return StreamingResponse(lines(), media_type="application/jsonl")


@app.get("/inboxes")
async def list_inboxes(cekat: Cekat) -> list[Inbox]:
    """Return all inboxes of the account."""
    return await cekat.inboxes.list(on_malformed=log_malformed).collect()


@app.exception_handler(CekatError)
async def describe_error(_: Request, error: CekatError) -> JSONResponse:
    """Reply with the status that fits an error of the API.

    The error's text never contains the key.
    """
    log.warning("%s", error)  # with the advice, which is for you and not for the browser
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
        case _:
            status = 502
    content = {"detail": error.message, "request_id": error.request_id}
    return JSONResponse(content, status, headers)
