"""Conversations for a browser: a Flask app in front of the Cekat API.

Run it with the key in CEKAT_API_KEY:

    pip install 'cekat-async[file]' flask gunicorn
    gunicorn --workers 2 --threads 16 flask_app:app
"""

import logging
import math

from cekat_loop import CekatLoop
from flask import Flask, Response, request

from cekat_async import (
    BadRequestError,
    CekatClient,
    CekatError,
    ConfigurationError,
    ConversationPage,
    Cursor,
    DeadlineExceededError,
    MalformedRecord,
    NotFoundError,
    RateLimitError,
    ServerError,
)

logging.basicConfig()  # otherwise the warnings of the client are not shown
log = logging.getLogger(__name__)
app = Flask(__name__)
loop = CekatLoop()


def log_malformed(record: MalformedRecord) -> None:
    """Log a malformed record without its content, which is a customer's data."""
    log.warning("record %d of a page is malformed: %s", record.index, record.reason)


@app.get("/conversations")
def list_conversations() -> Response:
    """Return one page. ``metadata.next_cursor`` leads to the next page."""
    query = request.args
    cursor = Cursor(query["cursor_id"], query["cursor_ts"]) if "cursor_id" in query else None

    async def fetch(cekat: CekatClient) -> ConversationPage:
        return await cekat.conversations.page(
            limit=20,
            stage_status=query.get("status"),
            cursor=cursor,
            on_malformed=log_malformed,
        )

    return Response(loop.run(fetch).to_json(), mimetype="application/json")


@app.errorhandler(CekatError)
def describe_error(error: CekatError) -> tuple[dict[str, str | None], int, dict[str, str]]:
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
    return {"detail": error.message, "request_id": error.request_id}, status, headers
