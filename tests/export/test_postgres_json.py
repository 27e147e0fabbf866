"""JSON in PostgreSQL: queries over all rows work for any records, and nothing is lost."""

# ruff: noqa: S608 - the statements are our own

import json
import re
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.malformed_records import LOSSLESS, NOT_UTF_8, set_ids
from support.sinks import publish, some_records

from cekat_async import TargetError
from cekat_async.export import sink_for
from cekat_async.export.sinks.databases import jsonb
from cekat_async.export.sinks.databases.jsonb import make_queryable
from cekat_async.export.sinks.databases.postgres import PostgresSink

psycopg = pytest.importorskip("psycopg", reason="no psycopg: it comes with the extra 'postgres'")

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "table-columns.md"

# Each of these records, stored unchanged in one row, makes a query over all rows fail.
HARD = {
    "NUL": rb'{"id":"x","notes":"a\u0000b","new":"\\u0000"}',
    "NUL as a name": rb'{"id":"x","\u0000":1,"additional_data":{"\u0000":["\u0000"]}}',
    "half a pair": rb'{"id":"x","notes":"Budi \ud83d"}',
    "the other half": rb'{"id":"x","notes":"\uDE00 Budi","extra":{"\udc00":"\ud83d"}}',
    "two halves": rb'{"id":"x","notes":"\ude00\ud83d \ud83d\ude00"}',
    "a large number": b'{"id":"x","new":1e400000}',
    "a small number": b'{"id":"x","new":-1E-400000}',
    "a huge exponent": b'{"id":"x","new":1e99999999999999999999}',
    "many digits": b'{"id":"x","new":%s,"more":0.%s}' % (b"9" * 140_000, b"1" * 20_000),
    "1e999": b'{"id":"x","additional_data":{"credit":1e999}}',
    "too deep": b'{"id":"x","new":%s%s}' % (b"[" * 20_000, b"]" * 20_000),
    "deep": b'{"id":"x","new":%s1%s}' % (b'{"a":' * 900, b"}" * 900),
    "no JSON": b'{"id":"x","notes":"',
    "NaN": b'{"id":"x","new":NaN}',
    "NUL itself": b'{"id":"x","notes":"a\x00b"}',
    "not UTF-8": b'{"id":"x","notes":"caf\xe9"}',
    "a wrong escape": rb'{"id":"x","new":"\ud8zz"}',
    "nothing": b"",
}


def ask(database, statement, *values):
    with closing(psycopg.connect(database, autocommit=True)) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else None


ALL_JSON = "VALUES (labels), (additional_data), (extra), (pipeline), (collaborators)"
OBJECT = "CASE json_typeof(raw) WHEN 'object' THEN raw ELSE '{}' END"
QUERIES = [
    "SELECT raw->>'notes', raw->'id', raw#>>'{labels,0}' FROM conversations",
    "SELECT raw->>'stage_status', count(*) FROM conversations GROUP BY 1",
    "SELECT raw::jsonb ? 'id', raw::jsonb @> '{}' FROM conversations",
    "SELECT jsonb_path_query(raw::jsonb, '$.**') FROM conversations",
    f"SELECT jsonb_path_query(x, '$.**') FROM conversations, LATERAL ({ALL_JSON}) t (x)",
    f"SELECT key, value FROM conversations, json_each_text({OBJECT})",
    "SELECT DISTINCT raw::jsonb, extra, additional_data FROM conversations",
    "SELECT manifest->>'conversations', manifest::jsonb FROM cekat_exports",
]


def test_queries_over_all_rows(database):
    """All JSON functions can read all rows of the table, for any records."""
    records = [*set_ids(HARD).values(), *LOSSLESS, NOT_UTF_8, *some_records(20)]
    # The names of unknown fields are also sent by the server and may contain anything.
    publish(PostgresSink(database), records, unknown_fields={"\0": 1, "\ufffd": 2})

    for query in QUERIES:
        assert ask(database, query), query
    (notes,) = ask(database, "SELECT raw->>'notes' FROM conversations WHERE id = 'half a pair'")
    assert notes == ("Budi \ufffd",)
    ask(database, "CREATE INDEX ON conversations USING gin ((raw::jsonb))")
    with closing(PostgresSink(database)) as sink:
        sink.open()
        assert sink.manifest().unknown_fields == {"\ufffd": 2}


def test_every_record_is_there_to_the_byte(database):
    """``raw_exact`` has the exact bytes of only those records that ``raw`` cannot hold."""
    plain = some_records(20)
    records = [*set_ids(HARD).values(), *LOSSLESS, NOT_UTF_8, *plain]
    publish(PostgresSink(database), records)

    held = ask(
        database, "SELECT coalesce(raw_exact, convert_to(raw::text, 'UTF8')) FROM conversations"
    )
    assert sorted(bytes(record) for (record,) in held) == sorted(records)
    beside = ask(database, "SELECT convert_to(raw::text, 'UTF8'), raw_exact FROM conversations")
    assert all(exact is None or exact != raw for raw, exact in beside)
    assert sum(exact is None for _, exact in beside) >= len(plain) + 5


def test_one_bad_character_changes_nothing_else(database):
    """In a record with one bad character, everything else is unchanged and can be queried."""
    raw = (
        rb'{ "id":"a","bad":"\u0000","n":1.0,"big":1e999,"n":2, "s":"\u00e9\"\\u0000\ud83d\ude00" }'
    )
    publish(PostgresSink(database), [raw])

    ((text,),) = ask(database, "SELECT raw::text FROM conversations")
    assert text == raw.decode().replace(r'"bad":"\u0000"', r'"bad":"\ufffd"')
    assert ask(
        database, "SELECT raw->>'bad', raw->>'n', raw->>'s', length(raw->>'big') FROM conversations"
    ) == [("\ufffd", "2", 'é"\\u0000😀', 5)]


def test_a_number_out_of_range_is_text(database):
    """A number that is out of PostgreSQL's range becomes a string of its digits."""
    publish(PostgresSink(database), [b'{"id":"a","new":[1e400000,-2.5E-20000,3]}'])

    assert ask(database, "SELECT raw->'new' FROM conversations") == [
        (["1e400000", "-2.5E-20000", 3],)
    ]


def nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SURROGATES = st.sampled_from([*"\ud800\ud83d\udce9\ude00\udfff"])
TEXTS = st.lists(SURROGATES | st.characters(), max_size=8).map("".join)
VALUES = st.recursive(st.none() | st.booleans() | NUMBERS | TEXTS, nested, max_leaves=8)
PIECES = st.sampled_from(
    [
        *(r"\u0000", r"\ud83d", r"\ude00", r"\ud83d\ude00", "\\", '"', "\n", "\0", "\x07", " "),
        *("1e400000", "1e99999", "01", "1.", "-", "+", "e", "1e5", "9" * 5001),
        *("[", "]", "{", "}", ",", ":", "NaN", "true"),
    ]
)


@st.composite
def nearly_json(draw):
    """Return JSON that is truncated or has pieces inserted at random places."""
    text = json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()))
    for piece in draw(st.lists(PIECES, max_size=3)):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + piece + text[place + draw(st.integers(0, 2)) :]
    return text.encode(errors="surrogatepass").decode(errors="replace")


@pytest.fixture(scope="module")
def server(postgres):
    with postgres.connect() as connection:
        yield connection


@settings(max_examples=80 * EFFORT)
@given(text=nearly_json())
def test_any_text_becomes_json_that_can_be_queried(server, text):
    """The server accepts the converted form of any text. Valid JSON is unchanged."""
    held = make_queryable(text)
    ask = "SELECT %s::json->>'a', jsonb_path_exists(%s::jsonb, '$.**')"
    server.execute(ask, (held, held)).fetchall()

    if "\0" not in text:
        good = "SELECT pg_input_is_valid(%s, 'jsonb')"
        ((is_good,),) = server.execute(good, (text,)).fetchall()
        if is_good and _plain(text):
            assert held == text


def _plain(text):
    """Return whether all numbers in the JSON are far from the server's limits."""
    return not re.search(r"[eE][+-]?\d{4}|\d{5000}", text)


@pytest.mark.parametrize("levels, stays", [(999, True), (1_001, False), (20_000, False)])
@pytest.mark.parametrize("opens, closes", [("[", "]"), ('{"a":', "}")])
def test_how_deep_json_may_be(server, levels, stays, opens, closes):
    """The server reads JSON of up to a thousand levels. Deeper JSON becomes a string."""
    # Later versions of Python can parse deeper JSON themselves.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(5_000)
    text = opens * levels + "1" + closes * levels
    try:
        held = make_queryable(text)
    finally:
        sys.setrecursionlimit(before)

    query = "SELECT jsonb_path_exists(%s::jsonb, '$.**'), %s::jsonb::text"
    server.execute(query, (held, held)).fetchall()
    assert held == (text if stays else json.dumps(text))


def test_brackets_in_a_text_are_no_levels():
    """Thousands of brackets do not count as levels if they are in strings or side by side."""
    for text in (json.dumps({"id": "a", "notes": "[{" * 3_000}), json.dumps([[]] * 3_000)):
        assert make_queryable(text) == text


def test_a_long_text_of_backslashes():
    """Megabytes of escapes are scanned in linear time."""
    text = '{"a":"' + "\\\\" * 500_000 + '\\u0000"}'

    assert make_queryable(text) == text.replace("\\u0000", "\\ufffd")
    digits = '{"a":[' + ",".join(["1" * 4_999] * 200) + "]}"
    assert make_queryable(digits) == digits


@pytest.mark.parametrize("bad", [r"\u0000", r"\ud83d", "1e10000", "1" * 5_001])
@pytest.mark.parametrize("shift", range(-12, 13, 3))
def test_bad_characters_are_found_at_the_border_of_two_pieces(bad, shift):
    """Text is scanned in pieces, and a bad sequence that spans two pieces is also found."""
    begin, piece = '{"a":"', jsonb._PIECE
    for border in (piece, 2 * piece):
        filling = "x" * (border - len(begin) - len('","b":"') - len(bad) // 2 + shift)
        value = f'"{bad}"' if bad.startswith("\\") else bad
        text = f'{begin}{filling}","b":{value}}}'

        assert make_queryable(text) != text
        good = text.replace(bad, "1" if value == bad else "a")
        assert make_queryable(good) == good


# Tables of version 0.1


OLD_COLUMNS = """
    id text NOT NULL PRIMARY KEY, inbox_id text, inbox_name text, platform_type text,
    stage_status text, contact_id text, contact_name text, contact_phone text, handled_by_id text,
    handled_by_name text, notes text, labels jsonb, first_message text,
    first_message_at timestamp with time zone, last_message text,
    last_message_at timestamp with time zone, additional_data jsonb,
    created_at timestamp with time zone, resolved_at timestamp with time zone, resolved_by_id text,
    resolved_by_name text, pipeline jsonb, collaborators jsonb, last_message_by_human jsonb,
    extra jsonb, raw json, exported_at timestamp with time zone
"""
OLD_MANIFESTS = """
    CREATE TABLE cekat_exports (table_name text NOT NULL PRIMARY KEY,
    exported_at timestamp with time zone, manifest json)
"""


@pytest.fixture
def old(database):
    """A database with the tables of version 0.1 and a row that cannot be queried."""
    ask(database, f"CREATE TABLE conversations ({OLD_COLUMNS})")
    ask(database, OLD_MANIFESTS)
    raw = r'{"id":"old","notes":"a\u0000b"}'
    ask(database, "INSERT INTO conversations (id, raw) VALUES ('old', %s)", raw)
    return database


def statement_in(error):
    return re.search(r"ALTER TABLE .*;", str(error)).group()


def test_a_table_of_version_0_1(old):
    """A table of 0.1 is refused.

    After the statement in the error was run, the table is accepted.
    """
    with closing(PostgresSink(old)) as sink, pytest.raises(TargetError) as raised:
        sink.open()
    assert "\n" not in str(raised.value)
    statement = statement_in(raised.value)
    ask(old, statement)

    publish(PostgresSink(old), [HARD["NUL"], *some_records(5)])
    assert ask(old, "SELECT count(*) FROM conversations") == [(7,)]
    publish(PostgresSink(old), [rb'{"id":"old","notes":"a\u0000c"}'])
    assert ask(old, "SELECT raw->>'notes' FROM conversations WHERE id = 'old'") == [("a\ufffdc",)]
    assert statement in DOCS.read_text(encoding="utf-8")


def test_rows_of_version_0_1(old):
    """The documented statement makes old rows queryable and keeps their original text."""
    (repair,) = re.findall(r"^UPDATE [^;]*;", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    with closing(PostgresSink(old)) as sink, pytest.raises(TargetError) as raised:
        sink.manifest()
    ask(old, statement_in(raised.value))
    good = '{"id":"good","notes":"as it was"}'
    ask(old, "INSERT INTO conversations (id, raw) VALUES ('good', %s)", good)
    ask(old, repair)

    for query in QUERIES[:-1]:
        ask(old, query)
    assert ask(old, "SELECT raw_exact FROM conversations WHERE id = 'old'") == [
        (rb'{"id":"old","notes":"a\u0000b"}',)
    ]
    assert ask(old, "SELECT raw::text, raw_exact FROM conversations WHERE id = 'good'") == [
        (good, None)
    ]


def test_the_statement_names_the_table_at_hand(database):
    """The statement in the error names the table and schema of the target."""
    ask(database, 'CREATE SCHEMA "My crm"')
    ask(database, f'CREATE TABLE "My crm"."All of them" ({OLD_COLUMNS})')
    table = "My crm.All of them"
    with closing(PostgresSink(database, table=table)) as sink, pytest.raises(TargetError) as raised:
        sink.open()
    ask(database, statement_in(raised.value))

    publish(PostgresSink(database, table=table), some_records(3))


def test_a_table_that_lacks_more_is_not_one_of_version_0_1(old):
    """If a table differs in any other way, it is refused, and the error has no statement."""
    ask(old, "ALTER TABLE conversations DROP COLUMN notes")
    with closing(PostgresSink(old)) as sink, pytest.raises(TargetError) as raised:
        sink.open()

    assert "ALTER" not in str(raised.value)
    assert "it has no column notes, raw_exact" in str(raised.value)


# Database files


@pytest.mark.parametrize("name", ["x.sqlite", "x.duckdb"])
def test_malformed_records_in_a_database_file(tmp_path, name):
    """In SQLite and DuckDB, ``json_valid`` excludes malformed records from queries of all rows."""
    sink = sink_for(tmp_path / name)
    publish(sink, [*set_ids(HARD).values(), *some_records(5)])
    query = "SELECT count(json_extract(raw, '$.notes')) FROM conversations WHERE json_valid(raw)"
    with sink.connection() as opened:
        assert opened.execute(query).fetchall()[0][0] > 5
