"""Conversations for a browser: a Flask app in front of the Cekat API.

Run it with the key in CEKAT_API_KEY:

    pip install 'cekat-async[file]' flask gunicorn
    gunicorn --workers 2 --threads 16 flask_app:app
"""

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
    NotFoundError,
    RateLimitError,
)

app = Flask(__name__)
loop = CekatLoop()


@app.get("/conversations")
def list_conversations() -> Response:
    """Return one page. ``metadata.next_cursor`` leads to the next one."""
    query = request.args
    cursor = Cursor(query["cursor_id"], query["cursor_ts"]) if "cursor_id" in query else None

    async def fetch(cekat: CekatClient) -> ConversationPage:
        return await cekat.conversations.page(
            limit=20, stage_status=query.get("status"), cursor=cursor
        )

    return Response(loop.run(fetch).to_json(), mimetype="application/json")


@app.errorhandler(CekatError)
def describe_error(error: CekatError) -> tuple[dict[str, str | None], int]:
    """Answer with the status that fits an error of the API. Its text never holds the key."""
    match error:
        case BadRequestError() | ConfigurationError():
            status = 422
        case NotFoundError():
            status = 404
        case RateLimitError():
            status = 503
        case DeadlineExceededError():
            status = 504
        case _:
            status = 502
    return {"detail": error.message, "request_id": error.request_id}, status
