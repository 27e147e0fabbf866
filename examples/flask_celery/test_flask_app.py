"""Tests of the Flask app, against a server on this machine that speaks the Cekat API."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient
from flask_app import app, describe_error

from cekat_async import RateLimitError
from cekat_async.sandbox import FaultInjector, Sandbox

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def web() -> FlaskClient:
    """A client of the app."""
    return app.test_client()


def test_a_browser_walks_from_page_to_page(web: FlaskClient) -> None:
    """The two strings of the cursor are the parameters that lead to the next page."""
    found: list[str] = []
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        reply = web.get("/conversations", query_string=cursor).get_json()
        found += [record["id"] for record in reply["data"]]
        cursor = reply["metadata"]["next_cursor"]

    assert len(found) == len(set(found)) == 50


def test_threads_share_the_client(web: FlaskClient) -> None:
    """Requests in many threads are handled at the same time."""
    with ThreadPoolExecutor(4) as threads:
        pending = [threads.submit(web.get, "/conversations") for _ in range(8)]
        replies = [one.result() for one in pending]

    assert {reply.status_code for reply in replies} == {200}


@pytest.mark.parametrize("code,status", [(400, 422), (401, 502), (404, 404)])
def test_errors_have_a_status(web: FlaskClient, sandbox: Sandbox, code: int, status: int) -> None:
    """An error of the API becomes a reply with a fitting status, without the key."""
    FaultInjector(sandbox).status(code)
    reply = web.get("/conversations")

    assert reply.status_code == status
    assert reply.get_json()["detail"]
    assert sandbox.api_key not in reply.text


def test_a_malformed_record_does_not_cost_its_page(web: FlaskClient, sandbox: Sandbox) -> None:
    """The page still has its other records, and says which record is malformed."""
    FaultInjector(sandbox).malformed_record()
    reply = web.get("/conversations").get_json()

    assert len(reply["data"]) == 20
    assert [record["index"] for record in reply["malformed_records"]] == [0]


def test_a_pause_is_passed_on() -> None:
    """The reply says when the API accepts requests again."""
    error = RateLimitError("the daily quota is used up")
    error.retry_after = 3599.5

    with app.app_context():
        _, status, headers = describe_error(error)

    assert (status, headers) == (503, {"Retry-After": "3600"})
