"""Changes of an account in tests: its key is rotated, its inboxes are hidden."""

import json

from cekat_async.sandbox.api.replies import build_error

INBOXES = "/api/inboxes"


def rotate_key(sandbox, key):
    """Make a sandbox accept another key, and only that one."""
    sandbox.api_key = key
    sandbox._handler._options = sandbox._handler._options._replace(api_key=key)


def close_inboxes(sandbox, status=403):
    """Forbid the listing of inboxes, so that the business is unknown."""
    sandbox._api._routes[INBOXES] = lambda _: build_error(status, f"HTTP_{status}", "no")


def open_inboxes(sandbox):
    """Make the listing of inboxes as it was at first."""
    sandbox._api._routes[INBOXES] = sandbox._api._inboxes


def change_inboxes(sandbox, change):
    """Let a function change the list of inboxes before it is sent."""

    def answer(given):
        reply = sandbox._api._inboxes(given)
        body = json.loads(reply.body)
        body["data"] = change(body["data"])
        pages = body["metadata"]["pagination"]
        pages["total_items"] = len(body["data"])
        return type(reply)(reply.status, json.dumps(body).encode(), reply.headers)

    sandbox._api._routes[INBOXES] = answer


def hide_inboxes(sandbox, *inbox_ids):
    """Remove some inboxes from the list."""
    change_inboxes(sandbox, lambda data: [one for one in data if one["id"] not in inbox_ids])


def asked_for(sandbox, path=INBOXES):
    """Return the number of requests for a path."""
    return sum(seen.path == path for seen in sandbox.log.requests)
