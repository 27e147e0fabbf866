"""``page.response``: how a page was received, without secrets."""

import copy
import pickle

import msgspec
import pytest
from multidict import CIMultiDict
from support.clock import run_virtual
from support.parts import collect, make_client, make_pipeline, page_body, page_reply
from support.rawserver import RawServer, http
from support.scripted import reply

from cekat_async import (
    CekatClient,
    ConversationPage,
    InboxPage,
    MalformedRecordError,
    PaginationError,
    RateLimit,
    RawPage,
    ResponseDetails,
    RetryPolicy,
)
from cekat_async._api.replies import redact_headers
from cekat_async._ratelimit.limiter import Limiter
from cekat_async.errors import NotFoundError, NotSentError, ServerError
from cekat_async.models.response_details import Headers
from cekat_async.pages import only
from cekat_async.redaction import Secret
from cekat_async.resources.conversations import Conversations
from cekat_async.sandbox import Fault, Sandbox

KEY = "kx7/Zq+9==.t0p-S3cret%and~more"


def redact(*headers: tuple[str, str], key: str = KEY) -> Headers:
    return redact_headers(CIMultiDict(headers), Secret(key))


# --- its content


async def test_each_kind_of_page_has_it(sandbox, client):
    """Pages of conversations and inboxes have details, whether they are decoded or raw."""
    pages = [
        await client.conversations.page(),
        await client.inboxes.page(),
        *await collect(client.conversations.list(page_size=50).raw_pages()),
        *await collect(client.conversations.list(segments=2, page_size=10).pages()),
        *await collect(client.conversations.across().tracked_pages({})),
        *await collect(client.inboxes.list().pages()),
    ]

    assert {type(page) for page in pages} == {ConversationPage, InboxPage, RawPage}
    for page in pages:
        assert page.response.status == 200
        assert page.response.attempts == 1
        assert page.response.headers["Content-Type"].startswith("application/json")
        assert page.response.seconds > 0


async def test_a_page_that_was_retried_says_so(sandbox, client):
    """The details have the number of attempts, and the request id of the reply that was used."""
    sandbox.fail_next(Fault.status(503), Fault.drop())

    page = await client.conversations.page()

    assert page.response.attempts == 3
    assert page.response.status == 200


def test_seconds_and_waits_are_measured():
    """The seconds include attempts and waits.

    The waits have the same names as in events.
    """
    script = [NotSentError("refused"), reply(429, Retry_After="20"), page_reply(["a"])]
    limiter = Limiter(RateLimit(600))
    pipeline, _ = make_pipeline(script, latency=3, limiter=limiter)

    page = run_virtual(Conversations(pipeline, None).page())

    details = page.response
    assert details.attempts == 3
    assert set(details.waited) == {"backoff", "pause"}
    assert details.waited["pause"] == pytest.approx(20)
    assert details.seconds_waited == pytest.approx(sum(details.waited.values()))
    assert details.seconds == pytest.approx(9 + details.seconds_waited)


def test_a_page_at_once_has_waited_for_nothing():
    """Without a wait, there is no reason for one in the details."""
    pipeline, _ = make_pipeline([page_reply(["a"])])

    details = run_virtual(Conversations(pipeline, None).page()).response

    assert (details.waited, details.seconds_waited) == ({}, 0)


@pytest.mark.parametrize(
    "headers,request_id",
    [
        ({"X_Request_Id": "r-1", "CF_Ray": "ray"}, "r-1"),
        ({"CF_Ray": "ray"}, "ray"),
        ({"X_Request_Id": "two\tparts"}, "two parts"),
        ({"X_Request_Id": "r" * 500}, "r" * 199 + "…"),
        ({}, None),
    ],
)
def test_the_request_id_is_that_of_errors(headers, request_id):
    """The request id is printable and short, as in errors."""
    pipeline, _ = make_pipeline(
        [reply(body=page_body(["a"]), **headers), reply(404, **headers)],
    )
    conversations = Conversations(pipeline, None)

    async def main() -> tuple[str | None, str | None]:
        page = await conversations.page()
        with pytest.raises(NotFoundError) as caught:
            await conversations.page()
        return page.response.request_id, caught.value.request_id

    assert run_virtual(main()) == (request_id, request_id)


def test_pages_that_are_reduced_keep_it():
    """A page that is reduced to fewer records, and the page of an error, have the same details."""
    odd = page_body([], data=[{"id": "a"}, {"id": 7}])
    bad_cursor = page_body(["a"], metadata={"next_cursor": {"cursor_id": "only"}})
    pipeline, _ = make_pipeline([page_reply(["a", "b"]), reply(body=odd), reply(body=bad_cursor)])
    conversations = Conversations(pipeline, None)

    async def main() -> list[ConversationPage]:
        page = await conversations.page()
        with pytest.raises(MalformedRecordError) as malformed:
            await conversations.page()
        with pytest.raises(PaginationError) as unusable:
            await conversations.page()
        return [only(page, [True, False]), malformed.value.page, unusable.value.page]

    assert [page.response.status for page in run_virtual(main())] == [200] * 3


def test_a_page_that_was_not_received_has_none():
    """A page that was not received has no details."""
    assert ConversationPage().response is InboxPage().response is RawPage().response is None


# --- headers


def test_looking_up_a_header_ignores_case():
    """Headers are a dictionary with names in lower case, and a lookup ignores case."""
    headers = redact(("X-RateLimit-Limit", "300"), ("Date", "today"))

    assert headers["x-ratelimit-LIMIT"] == headers.get("X-RateLimit-Limit") == "300"
    assert "DATE" in headers
    assert 7 not in headers
    assert headers.get("Nothing") is None
    assert headers.get("Nothing", "else") == "else"
    assert dict(headers) == {"x-ratelimit-limit": "300", "date": "today"}
    with pytest.raises(KeyError):
        _ = headers["Nothing"]


def test_headers_cannot_be_changed():
    """A header cannot be changed by name, because its name might not be in lower case."""
    headers = redact(("Date", "today"))

    for change in (lambda: headers.pop("Date"), lambda: headers.setdefault("DATE", "now")):
        with pytest.raises(TypeError, match=r"copy it with dict\(\)"):
            change()


def test_a_repeated_header_is_joined():
    """The values of a repeated header are joined as a list, as HTTP defines."""
    assert redact(("Via", "a"), ("Warning", "x"), ("VIA", "b")) == {"via": "a, b", "warning": "x"}


def test_cookies_and_credentials_are_left_out():
    """Cookies are left out, and so are credentials that a server sends back."""
    headers = redact(
        ("Set-Cookie", "session=1"),
        ("set-cookie", "more=2"),
        ("Set-Cookie2", "old=3"),
        ("Cookie", "session=1"),
        ("Authorization", "Bearer another key"),
        ("Proxy-Authorization", "Basic abc"),
        ("Server", "nginx"),
    )

    assert headers == {"server": "nginx"}


@pytest.mark.parametrize("spell", [str, lambda key: "".join(f"%{ord(c):02x}" for c in key)])
def test_the_key_is_redacted_in_names_and_values(spell):
    """If a server echoes the key in any form, the details show ``***`` in its place."""
    echo = spell(KEY)

    headers = redact(("X-Echo", f"Bearer {echo}!"), (f"X-{echo}", "1"), ("Server", "nginx"))

    assert headers == {"x-echo": "Bearer ***!", "x-***": "1", "server": "nginx"}


@pytest.mark.parametrize("before", range(32_768 - 45, 32_768, 3))
def test_many_headers_are_cut_and_show_no_part_of_the_key(before):
    """Headers beyond the limit are left out, even if the limit is in the middle of a key."""
    filler = "x" * (before - len("A\nB\n"))

    headers = redact(("A", filler), ("B", KEY), ("C", "x" * 100))

    assert {"a"} <= set(headers) <= {"a", "b"}
    assert headers.get("b", "***") == "***"
    assert KEY[:4] not in repr(dict(headers))


def test_text_that_is_not_utf8_can_be_encoded():
    """A header with any bytes can be logged, pickled and encoded as JSON."""
    headers = redact(("X-Name", b"caf\xe9".decode(errors="surrogateescape")))

    assert msgspec.json.decode(msgspec.json.encode(headers)) == {"x-name": r"caf\xe9"}


async def test_a_server_that_echoes_the_key_gets_it_into_no_page():
    """Over a real connection, no header, repr or pickle of a page has the key."""

    def answer(head: bytes) -> bytes:
        echo = next(line for line in head.decode().splitlines() if "uthorization" in line)
        said = echo.partition(": ")[2]
        return http(
            page_body(["a"]), X_Echo=said, X_Request_Id=said, Set_Cookie=said, Authorization=said
        )

    async with (
        RawServer(answer) as server,
        CekatClient(KEY, base_url=server.base_url) as client,
    ):
        page = await client.conversations.page()

    details = page.response
    shown = repr(details) + repr(details.headers) + pickle.dumps(page).decode("latin-1")
    assert KEY not in shown + details.request_id
    assert details.request_id == details.headers["X-Echo"] == "Bearer ***"
    assert not {"set-cookie", "authorization"} & details.headers.keys()


# --- as a value


def test_it_can_be_pickled_copied_and_encoded():
    """A page with details can be pickled, copied and encoded.

    Afterwards, headers can still be looked up.
    """
    pipeline, _ = make_pipeline([reply(body=page_body(["a"]), X_Request_Id="r")])
    page = run_virtual(Conversations(pipeline, None).page())

    for other in (pickle.loads(pickle.dumps(page)), copy.deepcopy(page), copy.copy(page)):  # noqa: S301
        assert other == page
        assert type(other.response) is ResponseDetails
        assert other.response.headers["X-REQUEST-ID"] == "r"
    encoded = msgspec.json.decode(msgspec.json.encode(page.response))
    assert encoded["headers"] == {"x-request-id": "r"}
    with pytest.raises(AttributeError):
        page.response.status = 500


def test_its_repr_shows_no_headers():
    """The repr is logged and headers may contain anything, so the repr has no headers."""
    details = ResponseDetails(status=200, headers=Headers({"x": "secret"}), attempts=2)

    assert repr(details) == "<ResponseDetails: status 200, 2 attempts, 0.000 s>"


async def test_a_retry_that_is_not_allowed_leaves_the_error_with_its_attempts():
    """An error has the number of attempts and the server's request id."""
    async with (
        Sandbox(conversations=3) as sandbox,
        make_client(sandbox, retry=RetryPolicy(attempts=2, backoff=0.001)) as client,
    ):
        sandbox.fail_next(*[Fault.status(503, headers={"X-Request-Id": "r-9"})] * 2)
        with pytest.raises(ServerError, match="request id r-9") as caught:
            await client.conversations.page()

    assert (caught.value.attempts, caught.value.request_id) == (2, "r-9")
