"""Changes of an account in tests: its key is rotated, its inboxes are hidden."""

# It changes a running sandbox in ways that no method of it offers.
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
    """Make a sandbox accept another key, and only that one."""
    sandbox.api_key = key
    sandbox._handler._options = sandbox._handler._options._replace(api_key=key)


def close_inboxes(sandbox: Sandbox, status: int = 403) -> None:
    """Forbid the listing of inboxes, so that the business is unknown."""
    sandbox._api._routes[INBOXES] = lambda given: build_error(status, f"HTTP_{status}", "no")


def open_inboxes(sandbox: Sandbox) -> None:
    """Make the listing of inboxes as it was at first."""
    sandbox._api._routes[INBOXES] = sandbox._api._inboxes


def change_inboxes(
    sandbox: Sandbox, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Let a function change the list of inboxes before it is sent."""

    def answer(given: Mapping[str, str]) -> Reply:
        reply = sandbox._api._inboxes(given)
        body: dict[str, Any] = json.loads(reply.body)
        body["data"] = change(body["data"])
        pages = body["metadata"]["pagination"]
        pages["total_items"] = len(body["data"])
        return type(reply)(reply.status, json.dumps(body).encode(), reply.headers)

    sandbox._api._routes[INBOXES] = answer


def hide_inboxes(sandbox: Sandbox, *inbox_ids: str) -> None:
    """Remove some inboxes from the list."""
    change_inboxes(sandbox, lambda data: [one for one in data if one["id"] not in inbox_ids])


def asked_for(sandbox: Sandbox, path: str = INBOXES) -> int:
    """Return the number of requests for a path."""
    return sum(seen.path == path for seen in sandbox.log.requests)
