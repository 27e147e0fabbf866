"""Raw pages: every record as received and none decoded, in a walk that is as safe as any other."""

import json

import pytest
from support.clock import run_virtual
from support.malformed_records import LOSSLESS
from support.parts import collect, make_pipeline, page_body
from support.scripted import reply

from cekat_async import (
    APIStatusError,
    CekatClient,
    ConversationPage,
    DecodeError,
    PaginationError,
    RawPage,
)
from cekat_async.resources.conversations import Conversations
from cekat_async.sandbox import Sandbox


def make_conversations(*bodies: bytes) -> Conversations:
    pipeline, _ = make_pipeline([reply(body=body) for body in bodies])
    return Conversations(pipeline, None)


def walked(*bodies: bytes, **options) -> list[RawPage]:
    return run_virtual(collect(make_conversations(*bodies).list(**options).raw_pages()))


@pytest.mark.parametrize("prefetch", [0, 1, 5])
async def test_they_are_the_records_of_pages(prefetch):
    """Raw pages have the same records as ``pages()``, byte for byte and in the same order."""
    async with (
        Sandbox(conversations=250, quota=None) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as client,
    ):
        typed = await collect(
            client.conversations.list(page_size=30, on_malformed=lambda _: None).pages()
        )
        raw = await collect(client.conversations.list(page_size=30, prefetch=prefetch).raw_pages())
        inbox = (await client.inboxes.page(on_malformed=lambda _: None)).items[0].id
        of_inbox = await collect(
            client.conversations.list(inbox_id=inbox, stage_status="assigned").raw_pages()
        )

    assert [page.body for page in raw] == [page.body for page in typed]
    assert [bytes(r) for page in raw for r in page.raw] == [raw for _, raw in sandbox.records()]
    assert [page.next_cursor for page in raw] == [page.next_cursor for page in typed]
    assert b"".join(page.json_lines() for page in raw) == b"".join(
        page.json_lines() for page in typed
    )
    assert {page.inbox_id for page in of_inbox} == {inbox}
    for line in [line for page in of_inbox for line in page.lines]:
        assert json.loads(line)["stage_status"] == "assigned"


@pytest.mark.parametrize("kind", [RawPage, ConversationPage])
def test_a_record_is_one_line(kind):
    """Each record is one line with unchanged text, however the server formats its JSON."""
    record = {"id": "a", "notes": "two\nlines\r\n", "labels": [{"name": "x  y"}]}
    body = json.dumps({"success": True, "data": [record, {"id": "b"}]}, indent=2).encode()
    room = make_conversations(body.replace(b"\n", b"\r\n"))
    walk = room.list().raw_pages() if kind is RawPage else room.list().pages()
    (page,) = run_virtual(collect(walk))

    assert isinstance(page, kind)
    assert page.json_lines().endswith(b"}\n")
    assert [json.loads(line) for line in page.json_lines().splitlines()] == [record, {"id": "b"}]
    assert b"".join(line + b"\n" for line in page.lines) == page.json_lines()
    assert len(page) == len(page.raw) == 2


def test_malformed_records_are_yielded_like_others():
    """A page keeps every record, whatever its shape, and raises no error."""
    body = b'{"success":true,"data":[%s],"metadata":null}' % b",".join(LOSSLESS)
    (page,) = walked(body)

    assert page.lines == LOSSLESS


def test_half_an_emoji_is_kept():
    """A record whose text was cut within an emoji is not changed."""
    body = page_body([], data=[{"id": "a", "notes": "\ud83d"}, {"id": "b"}])
    (page,) = walked(body)

    assert page.lines == [b'{"id": "a", "notes": "\\ud83d"}', b'{"id": "b"}']


@pytest.mark.parametrize(
    "body,error",
    [
        (b'{"success":false,"error":{"message":"no"}}', APIStatusError),
        (b'{"success":false,"data":[]}', APIStatusError),
        (b'{"success":true,"data":7}', DecodeError),
        (b'{"data":[]', DecodeError),
        (page_body(["a"], "c", metadata={"next_cursor": {"cursor_id": "c"}}), PaginationError),
    ],
)
def test_other_replies_are_errors(body, error):
    """A refusal, invalid JSON, or JSON of another shape raises, as in other walks."""
    with pytest.raises(error):
        walked(*[body] * 20)


def test_an_empty_page_is_empty():
    """An empty page without a cursor ends the walk.

    An empty page with a cursor does not.
    """
    pages = walked(page_body([], "c1"), page_body(["a"], "c2"), page_body([], "c2"))

    assert [page.is_empty for page in pages] == [True, False, True]
    assert [page.json_lines() for page in pages] == [b"", b'{"id": "a"}\n', b""]
