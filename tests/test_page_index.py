"""Indexes into the records of a page, for every kind of page."""

import pytest

from cekat_async import Conversation, ConversationPage, Inbox, InboxPage, MalformedRecord, RawPage
from cekat_async._api.decoding import ConversationPageDecoder
from cekat_async._api.replies import Reply
from cekat_async.models.steps import run_steps

BODY = b'{"data":[{"id":"a"},{"id":"b"},{"id":"c"}]}'
PAGES = {
    "ConversationPage": ConversationPage(items=tuple(Conversation(id=id_) for id_ in "abc")),
    "InboxPage": InboxPage(items=tuple(Inbox(id=id_) for id_ in "abc")),
}
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


@each_page
def test_an_index_is_a_record(page):
    """``page[0]`` is the first record and ``page[-1]`` the last, as in a list."""
    assert [page[index].id for index in (0, 1, 2, -1, -3)] == ["a", "b", "c", "c", "a"]
    assert page[0] is page.items[0]


@each_page
@pytest.mark.parametrize(
    "part", [slice(2), slice(1, None), slice(None), slice(None, None, -1), slice(5, 9)]
)
def test_a_slice_is_a_tuple_of_records(page, part):
    """``page[:3]`` is a tuple. If the page has fewer records, the tuple has fewer, too."""
    assert page[part] == page.items[part]
    assert type(page[part]) is tuple


@each_page
@pytest.mark.parametrize("index", [3, -4])
def test_an_index_that_is_not_there(page, index):
    """An index out of range raises IndexError, as in a list."""
    with pytest.raises(IndexError):
        page[index]


@each_page
@pytest.mark.parametrize("wrong", ["a", None, 1.0])
def test_an_index_is_a_number(page, wrong):
    """A page cannot be indexed by the id of a record."""
    with pytest.raises(TypeError):
        page[wrong]


def test_a_raw_page_has_bytes():
    """On a raw page, an index returns a record's bytes, and a slice returns a list of them."""
    page = RawPage(raw=ConversationPage(body=BODY).raw, body=BODY)

    assert bytes(page[0]) == b'{"id":"a"}'
    assert bytes(page[-1]) == b'{"id":"c"}'
    assert [bytes(raw) for raw in page[:2]] == [b'{"id":"a"}', b'{"id":"b"}']
    assert page[1:] == page.raw[1:]
    with pytest.raises(IndexError):
        page[3]


def test_raw_counts_malformed_records_and_an_index_does_not():
    """If the first record is malformed, ``page[0]`` is the second one of ``page.raw``."""
    page = run_steps(ConversationPageDecoder().decode(Reply(200, {}, b'{"data":[7,{"id":"b"}]}')))

    assert isinstance(page.malformed_records[0], MalformedRecord)
    assert page[0].id == "b"
    assert bytes(page.raw[0]) == b"7"
    assert bytes(page.raw[1]) == b'{"id":"b"}'


def test_a_page_is_still_iterated_by_its_records():
    """Iteration, length and membership use the records."""
    page = PAGES["ConversationPage"]

    assert [item.id for item in page] == ["a", "b", "c"]
    assert [item.id for item in reversed(page)] == ["c", "b", "a"]
    assert len(page) == 3
    assert page[0] in page
