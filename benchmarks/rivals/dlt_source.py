"""dlt's REST source. It only extracts, and does not normalize or load."""

from typing import Any, cast

from dlt.sources.helpers.rest_client.paginators import BasePaginator
from dlt.sources.rest_api import rest_api_resources
from requests import Request, Response

KEY = "benchmark"


class CursorPairPaginator(BasePaginator):
    """Follows a cursor of two parts. dlt has no paginator for such a cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._cursor: dict[str, str] = {}

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Read the cursor of a response."""
        del data
        self._cursor = response.json()["metadata"]["next_cursor"]
        self._has_next_page = self._cursor["cursor_id"] is not None

    def update_request(self, request: Request) -> None:
        """Put the cursor into the next request."""
        # dlt always passes a dictionary.
        request.params = {**cast("dict[str, str]", request.params), **self._cursor}


def walk(base_url: str) -> int:
    """Walk with a declared resource, item by item."""
    [conversations] = rest_api_resources(
        {
            "client": {
                "base_url": base_url,
                "auth": {"type": "bearer", "token": KEY},
                "paginator": CursorPairPaginator(),
            },
            "resources": [
                {
                    "name": "conversations",
                    "endpoint": {
                        "path": "api/conversations",
                        "params": {"limit": "100"},
                        "data_selector": "data",
                    },
                }
            ],
        }
    )
    count = 0
    for conversation in conversations:
        count += conversation["id"] is not None
    return count
