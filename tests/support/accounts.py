"""Changes to an account during a test, such as a rotated key or hidden inboxes."""

# These functions change private attributes, because the sandbox has no methods for this.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cekat_async.sandbox.api.replies import build_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cekat_async.sandbox import Sandbox
    from cekat_async.sandbox.api.replies import Reply

INBOXES = "/api/inboxes"


def rotate_key(sandbox: Sandbox, key: str) -> None:
    """Replace the key that a sandbox accepts."""
    sandbox.api_key = key
    sandbox._handler._options = sandbox._handler._options._replace(api_key=key)


def close_inboxes(sandbox: Sandbox, status: int = 403) -> None:
    """Refuse requests for inboxes, so that a client cannot find out the account's business id."""
    sandbox._api._routes[INBOXES] = lambda given: build_error(status, f"HTTP_{status}", "no")


def open_inboxes(sandbox: Sandbox) -> None:
    """Restore the original listing of inboxes."""
    sandbox._api._routes[INBOXES] = sandbox._api._inboxes


def change_inboxes(
    sandbox: Sandbox, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Apply a function to the list of inboxes in each reply."""

    def answer(given: Mapping[str, str]) -> Reply:
        reply = sandbox._api._inboxes(given)
        body: dict[str, Any] = json.loads(reply.body)
        body["data"] = change(body["data"])
        pages = body["metadata"]["pagination"]
        pages["total_items"] = len(body["data"])
        return type(reply)(reply.status, json.dumps(body).encode(), reply.headers)

    sandbox._api._routes[INBOXES] = answer


def hide_inboxes(sandbox: Sandbox, *inbox_ids: str) -> None:
    """Remove these inboxes from the listing of inboxes."""
    change_inboxes(sandbox, lambda data: [one for one in data if one["id"] not in inbox_ids])


def asked_for(sandbox: Sandbox, path: str = INBOXES) -> int:
    """Return the number of requests that a sandbox has received for a path."""
    return sum(seen.path == path for seen in sandbox.log.requests)
