"""The decoder loses no record, changes none and counts none twice, for any input.

``CEKAT_TEST_EFFORT=100`` tries more records: see CONTRIBUTING.md.
"""

import json
import pickle
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from support.hostile import METADATA, make_body, records
from support.scripted import reply

from cekat_async import CekatError, decode_conversation, record_id
from cekat_async._api.decoding import ConversationPageDecoder, InboxPageDecoder, decode_raw_page
from cekat_async.errors import DecodeError
from cekat_async.models.steps import run_steps

DAMAGE = st.sampled_from([b'"', b"\\", b"]", b"}", b",", b"NaN"])


@given(sent=st.lists(records(), max_size=6), rest=METADATA)
def test_every_record_of_a_page_is_there(sent, rest):
    """A page has all records in order and with their ids, whatever they contain.

    Only unreadable records are malformed, and each record has the bytes that were sent.
    """
    body = make_body(sent, rest)
    page = run_steps(ConversationPageDecoder().decode(reply(body=body)))
    raw_page = run_steps(decode_raw_page(reply(body=body)))

    assert page.ids == raw_page.ids == [one.id for one in sent]
    assert [bytes(raw) for raw in page.raw] == [one.raw for one in sent]
    assert page.lines == raw_page.lines
    assert page.json_lines() == raw_page.json_lines()
    assert (page.next_cursor, page.cursor_error) == (raw_page.next_cursor, raw_page.cursor_error)
    malformed = [index for index, one in enumerate(sent) if one.is_malformed]
    assert [record.index for record in page.malformed_records] == malformed
    assert [record.raw for record in page.malformed_records] == [
        sent[index].raw for index in malformed
    ]
    inboxes = run_steps(InboxPageDecoder().decode(reply(body=body), 1))
    assert inboxes.ids == page.ids
    assert pickle.loads(pickle.dumps(page)) == page  # noqa: S301 - just pickled


@given(sent=records())
def test_a_record_is_the_same_wherever_it_is_read(sent):
    """A record is decoded to the same result on a page and alone."""
    page = run_steps(ConversationPageDecoder().decode(reply(body=make_body([sent]))))
    (line,) = page.lines

    assert record_id(sent.raw) == record_id(line) == sent.id
    try:
        record = decode_conversation(sent.raw)
    except DecodeError:
        assert sent.is_malformed
        return
    assert [record] == [*page.items] == [decode_conversation(line)]
    again = decode_conversation(json.dumps(record.to_dict()))
    assert again.id == record.id
    assert again.to_dict().keys() == record.to_dict().keys()


@given(sent=st.lists(records(), max_size=3), rest=METADATA, data=st.data())
def test_a_damaged_body_is_a_page_or_an_error(sent, rest, data):
    """A damaged body is decoded to a page of consistent records, or raises one of our errors.

    A truncated body is never accepted as a complete page.
    """
    body = bytearray(make_body(sent, rest))
    if data.draw(st.booleans()):
        end = data.draw(st.integers(0, len(body) - 1))
        body, is_cut = body[:end], True
    else:
        is_cut = False
        for _ in range(data.draw(st.integers(1, 3))):
            begin = data.draw(st.integers(0, len(body)))
            end = begin + data.draw(st.integers(0, 3))
            body[begin:end] = data.draw(
                st.binary(max_size=3)
                | st.sampled_from([b'"', b"\\", b"{", b"]", b"\\ud83d", b"1e999", b"\xff"])
            )
    inbox_page = partial(InboxPageDecoder().decode, number=1)
    for decode in (ConversationPageDecoder().decode, decode_raw_page, inbox_page):
        try:
            page = run_steps(decode(reply(body=bytes(body))))
        except CekatError as error:
            str(error).encode()
        else:
            assert not is_cut
            assert len(page.ids) == len(page.raw) == len(page.lines)
            assert page.ids == [record_id(raw) for raw in page.raw]
