"""Deduplication: a set that uses little memory, and the removal of repeated records from pages."""

import sys
from itertools import chain, compress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.scripted import reply

from cekat_async._api.decoding import ConversationPageDecoder
from cekat_async._paging.hash_set import HashSet, hash_name
from cekat_async.models.raw_json import AT_ONCE
from cekat_async.models.steps import run_steps
from cekat_async.pages import ConversationPage, RawPage, only, record_names

MANY = 200_000

# Overlapping series of names, which are long enough to split buckets.
RUNS = st.lists(
    st.builds(
        lambda first, count, spell: [spell(number) for number in range(first, first + count)],
        st.integers(0, 300),
        st.integers(0, 150),
        st.sampled_from([str, lambda number: b"%d" % number]),
    ),
    max_size=8,
).map(lambda runs: [*chain(*runs)])
NAMES = st.lists(st.text(max_size=2) | st.binary(max_size=2), max_size=20)

# Possible records, with the name that identifies each. %d is the record's position on the page.
RECORDS = {
    b'{"id":"plain-%d"}': "plain-%d",
    b'\n {"id" : "spaced-%d" , "notes":"\\ud83d"}\t': "spaced-%d",
    b'{"id":"odd-%d","labels":7}': "odd-%d",
    b'{"id":"","labels":%d}': b'{"id":"","labels":%d}',
    b'{"labels":%d}': b'{"labels":%d}',
    b"%d": b"%d",
    b'{"id":%d, "notes":"\xff"}': b'{"id":%d, "notes":"\xff"}',
}


def make_page(records: list[bytes]) -> ConversationPage:
    """Return a decoded page with these records."""
    body = b'{"data":[%s],"metadata":{"next_cursor":{"cursor_id":"c","cursor_ts":"t"}}}'
    return run_steps(ConversationPageDecoder().decode(reply(body=body % b",".join(records))))


def numbered(kinds: list[bytes]) -> list[bytes]:
    return [kind.replace(b"%d", b"%d" % number) for number, kind in enumerate(kinds)]


# --- names


@given(names=st.builds(list.__add__, RUNS, NAMES))
@example(names=["", b"", "7", b"7", "ab", "\u6261"])
def test_it_is_a_set(names):
    """A name is new when it is first added, and is in the set from then on.

    A string and its bytes are different names, and so are two strings with the same memory layout.
    Python's ``hash()`` can be the same for both.
    """
    seen, expected = HashSet(), set()
    for name in names:
        assert seen.add(hash_name(name)) == (name not in expected)
        expected.add(name)

    assert not any(seen.add(hash_name(name)) for name in expected)
    assert all(seen.add(hash_name(name)) for name in ["not there", b"neither", "1000"])


def test_hashes_are_compared_whole():
    """A hash is new even if its bytes occur in the set as parts of two other hashes."""
    seen = HashSet()

    assert all(map(seen.add, [0x1111111122222222, 0x3333333344444444]))
    assert all(map(seen.add, [0x2222222233333333, 0x4444444411111111]))
    assert not any(map(seen.add, [0x2222222233333333, 0x3333333344444444]))


def test_short_hashes_keep_their_last_bytes():
    """With a width of four bytes, two hashes are equal if their last four bytes are equal."""
    seen = HashSet(width=4)

    assert all(map(seen.add, range(2000)))
    assert not any(map(seen.add, range(2000)))
    assert not any(map(seen.add, range(2**32, 2**32 + 2000)))


def test_many_names_take_little_memory_and_no_long_search():
    """Each of 200,000 names takes less than 10 bytes, and buckets stay short."""
    seen = HashSet()

    assert all(seen.add(hash_name(f"id-{number}")) for number in range(MANY))
    assert not any(seen.add(hash_name(f"id-{number}")) for number in range(MANY))
    assert sum(map(sys.getsizeof, [seen._buckets, *seen._buckets])) < 10 * MANY
    assert max(map(len, seen._buckets)) < 8 * 500


# --- pages


@given(kinds=st.lists(st.sampled_from([*RECORDS]), max_size=12))
def test_each_record_of_a_page_has_its_name(kinds):
    """A record's name is its id, even if it is malformed. Without an id, its name is its bytes."""
    names = [
        name.replace("%d", str(number)) if isinstance(name, str) else name % number
        for number, name in enumerate(map(RECORDS.get, kinds))
    ]

    assert record_names(make_page(numbered(kinds))) == names


@given(kinds=st.lists(st.sampled_from([*RECORDS]), max_size=12))
def test_names_of_raw_records(kinds):
    """The name of a raw record is its id if decoding the record once yields the id.

    If not, the name is the record's bytes. On huge pages, all names are bytes.
    """
    page = make_page(numbered(kinds))
    raw_page = RawPage(raw=page.raw, body=page.body)

    for name, raw, id_ in zip(record_names(raw_page), page.raw, page.ids, strict=True):
        assert name in {id_, bytes(raw)}
        assert (name == id_) or id_ is None or b"\\ud" in bytes(raw)

    large = RawPage(raw=page.raw, body=page.body + b"," * AT_ONCE)
    assert record_names(large) == [bytes(raw) for raw in page.raw]


@given(kinds=st.lists(st.tuples(st.sampled_from([*RECORDS]), st.booleans()), max_size=12))
def test_a_reduced_page_equals_a_page_of_the_other_records(kinds):
    """A reduced page equals a page that never had the removed records."""
    records = numbered([kind for kind, _ in kinds])
    wanted = [is_wanted for _, is_wanted in kinds]
    expected = make_page([*compress(records, wanted)])

    kept = only(make_page(records), wanted)

    assert replace(kept, body=b"", kept_raw=None) == replace(expected, body=b"", kept_raw=None)
    assert [bytes(raw) for raw in kept.raw] == [bytes(raw) for raw in expected.raw]
    assert all(bytes(kept.raw[odd.index]) == odd.raw for odd in kept.malformed_records)


@pytest.mark.parametrize("records", [[], [b'{"id":"a"}', b"7"]])
def test_a_page_that_is_not_reduced_is_returned_unchanged(records):
    """A page without repeated records is returned as the same object with the same body."""
    page = make_page(records)

    assert only(page, [True] * len(records)) is page
