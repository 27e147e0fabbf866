"""JSON as bytes: the bounds of values, invalid text, and work in small steps."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT, run_in_steps

from cekat_async.models.json_scanner import BrokenJSONError
from cekat_async.models.raw_json import cut_envelope, cut_records, replace_invalid_text
from cekat_async.models.steps import run_steps

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
SPACE = st.sampled_from(["", " ", "\n", "\t\r\n "])


@given(records=st.lists(JSON, max_size=5), metadata=JSON, spaces=st.tuples(SPACE, SPACE))
@settings(max_examples=40 * EFFORT)
def test_records_are_cut_by_their_borders(records: list, metadata: object, spaces: tuple) -> None:
    """Each record, even with NaN and infinity, is cut out byte for byte."""
    printed = [json.dumps(record, ensure_ascii=False) for record in records]
    between = spaces[0] + "," + spaces[1]
    body = (
        f'{spaces[0]}{{"metadata":{json.dumps(metadata)}{between}"data"{spaces[1]}:'
        f'[{spaces[0]}{between.join(printed)}{spaces[1]}]{between}"success":true}}{spaces[0]}'
    ).encode(errors="surrogatepass")

    envelope = run_steps(cut_envelope(body))

    assert [bytes(raw) for raw in envelope.records] == [
        text.encode(errors="surrogatepass") for text in printed
    ]
    assert bytes(envelope.metadata) == json.dumps(metadata).encode()
    assert bytes(envelope.success) == b"true"


def test_records_are_cut_from_a_body_that_msgspec_rejects() -> None:
    """If one record makes the body invalid JSON, the records are still cut out separately."""
    assert [bytes(raw) for raw in cut_records(b'{"data":[{"a":1}, NaN]}')] == [b'{"a":1}', b"NaN"]
    assert cut_records(b'{"data":NaN}') == []


def test_a_name_that_is_not_text_is_passed_over() -> None:
    """A member whose name is not UTF-8 is skipped, and the other members are found."""
    envelope = run_steps(cut_envelope(b'{"\xff":NaN,"data":[NaN],"success":true}'))

    assert [bytes(raw) for raw in envelope.records] == [b"NaN"]
    assert bytes(envelope.success) == b"true"


@given(body=st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=40 * EFFORT)
def test_any_bytes_are_cut_or_refused(body: bytes) -> None:
    """Any bytes can either be cut or raise BrokenJSONError.

    Valid JSON is cut exactly as msgspec cuts it.
    """
    try:
        envelope = run_steps(cut_envelope(body))
    except BrokenJSONError:
        with pytest.raises((msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError)):
            msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return
    if envelope.records is not None:
        assert [bytes(r) for r in cut_records(body)] == [bytes(r) for r in envelope.records]


@given(data=st.data(), body=st.lists(JSON, max_size=3).map(lambda v: {"data": v, "success": True}))
@settings(max_examples=40 * EFFORT)
def test_a_body_that_is_cut_short_is_refused(data: st.DataObject, body: dict) -> None:
    """A truncated body is never accepted as complete."""
    text = json.dumps(body).encode()
    end = data.draw(st.integers(0, len(text) - 1))

    with pytest.raises(BrokenJSONError):
        run_steps(cut_envelope(text[:end]))


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=20))
@settings(max_examples=40 * EFFORT)
def test_surrogates_are_replaced(text: str) -> None:
    """Only lone surrogates are replaced. Valid text is unchanged."""
    body = json.dumps(text).encode()
    # json.dumps escapes both halves of a pair as the character that they form together.
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    found = run_steps(replace_invalid_text(body))

    assert len(body) == len(found)
    assert msgspec.json.decode(found) == json.loads(found) == whole
    if not any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        assert found == body


@pytest.mark.parametrize(
    "sent,expected",
    [
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\ude00"', rb'"\ufffd"'),
        (rb'"\uD83D\uD83D\uDE00"', rb'"\ufffd\uD83D\uDE00"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\ud83d\\ude00"', rb'"\ufffd\\ude00"'),
        (rb'"\ud83d\u0041"', rb'"\ufffd\u0041"'),
        (rb'"\uD7FF\uE000"', rb'"\uD7FF\uE000"'),
        (b'"\xf0\x9f\x98\x80"', b'"\xf0\x9f\x98\x80"'),
        (b'"caf\xe9"', '"caf\ufffd"'.encode()),
        (b'"a\tb\x00"', b'"a b "'),
        (b'{\r\n"a": 1}', b'{"a": 1}'),
        (b"\\", b"\\"),
        (rb"\u", rb"\u"),
        (rb"\ud8", rb"\ud8"),
    ],
)
def test_invalid_text_is_replaced(sent: bytes, expected: bytes) -> None:
    """Only invalid text changes. Complete pairs and escaped backslashes are unchanged."""
    assert run_steps(replace_invalid_text(sent)) == expected


MIB = 1024 * 1024
LARGE = {
    "many small records": b'{"data":[' + b",".join([b"{}"] * 50_000) + b"]}",
    "many numbers": b'{"data":[' + b",".join([b"1"] * 50_000) + b"]}",
    "one long string": b'{"data":[{"id":"x","notes":"' + b"y" * 4 * MIB + rb'\ud83d"}]}',
    "backslashes": b'{"data":[{"id":"x","notes":"' + rb"\\" * MIB + rb'\ud83d"}]}',
    "halves": b'{"data":[{"id":"x","notes":"' + rb"\ud83d" * 100_000 + b'"}]}',
    "deep lists": b'{"data":[{"id":"x","a":' + b"[" * MIB + b"]" * MIB + b"}]}",
    "deep objects": b'{"data":[{"id":"x","a":'
    + b'{"a":' * 100_000
    + b"1"
    + b"}" * 100_000
    + b"}]}",
    "wide": b'{"data":[{"id":"x","a":[' + b",".join([b"[[[]]]"] * 100_000) + b"]}]}",
    "many members": b'{"data":[],' + b",".join(b'"%d":1' % n for n in range(50_000)) + b"}",
}


@pytest.mark.parametrize("name", LARGE)
def test_large_bodies_are_read_in_steps(name: str) -> None:
    """A large body is read in several steps, so that other tasks can run in between."""
    _, pauses = run_in_steps(cut_envelope(LARGE[name]))

    assert pauses >= len(LARGE[name]) // MIB + 1


@pytest.mark.parametrize("name", ["backslashes", "halves", "one long string"])
def test_large_texts_are_repaired_in_steps(name: str) -> None:
    """A large text is repaired in several steps, with the same result as in a single step."""
    found, pauses = run_in_steps(replace_invalid_text(LARGE[name]))

    assert pauses >= 1
    assert found == LARGE[name].replace(rb"\ud83d", rb"\ufffd")
