"""All databases: typed rows are merged by id, and committed together or not at all."""

import json
import random
import re
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.effort import EFFORT
from support.malformed_records import set_ids
from support.sinks import MOMENT, Given, a_manifest, list_names, publish, some_records

from cekat_async import ConfigurationError, DecodeError, TargetError, decode_conversation
from cekat_async.export.sinks.databases.tables import require_table_name
from cekat_async.frames.columns import COLUMNS, build_row

TESTS = Path(__file__).parents[1]
NAMES = [column.name for column in COLUMNS] + ["exported_at"]
KIND = {column.name: column.kind for column in COLUMNS} | {"exported_at": "time"}
BARE = b'{"id":"bare"}'
RICH = json.dumps(
    {
        "id": "rich",
        "notes": 'it\'s "so"; -- 100% %s \\ \n\ttab',
        "created_at": "2026-02-03T04:05:06.123456+07:00",
        "brand_new": {"deep": [1, None, 2.5, "x"]},
        "labels": [],
    }
).encode()
ODD = {
    "a number": b"17",
    "an id that is none": b'{"id":3}',
    "cut short": b'{"id":"x","notes":"',
    "a control character": b'{"id":"x","notes":"a\x01b"}',
    "NUL itself": b'{"id":"x","notes":"a\x00b"}',
    "no number": b'{"id":"x","new":NaN}',
    "too large a number": b'{"id":"x","new":1e999}',
    "half a pair, in itself": b'"\\ud83d"',
    "too deep": b'{"id":"x","new":%s%s}' % (b"[" * 5000, b"]" * 5000),
    "a byte order mark": b'\xef\xbb\xbf{"id":"x"}',
    "a wrong escape": b'{"id":"x","new":"\\ud8zz"}',
    "nothing": b"",
}
WELL = {
    "half a pair": b'{"id":"x","notes":"\\ud83d","new":"\\udc00"}',
    "both halves": b'{"id":"x","notes":"\\ud83d\\ude00"}',
    "invalid UTF-8": b'{"id":"x","notes":"\xff\xfe"}',
    "300 kB": b'{"id":"x","notes":"%s"}' % (b"0123456789" * 30_000),
    "a large number": b'{"id":"x","new":123456789012345678901234567890}',
    "the same name twice": b'{"id":"x","new":{"a":1,"a":2}}',
}


def read_value(name, value):
    """Convert a database's value to the equal Python value."""
    if value is None or KIND[name] in ("text", "raw"):
        return value
    if KIND[name] == "json":
        return json.loads(value)
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def read_values(store, table="conversations"):
    """Return the values of a table, by id and column name."""
    columns = ", ".join(NAMES)
    rows = store.ask(f'SELECT {columns} FROM "{table}"')  # noqa: S608
    made = [{n: read_value(n, v) for n, v in zip(NAMES, row, strict=True)} for row in rows]
    return {row["id"]: row for row in made}


def get_expected(raw):
    """Compute the columns of a documented record without using the code of the sinks."""
    c = decode_conversation(raw)
    names = ["inbox_id", "inbox_name", "platform_type", "stage_status", "contact_id"]
    names += ["contact_name", "contact_phone", "handled_by_id", "handled_by_name", "notes"]
    names += ["additional_data", "created_at", "resolved_at", "resolved_by_id", "resolved_by_name"]
    names += ["pipeline", "collaborators", "last_message_by_human"]
    values = {name: getattr(c, name) for name in ["id", *names]}
    for name in ("first_message", "last_message"):
        preview = getattr(c, name)
        values[name] = preview and preview.message
        values[f"{name}_at"] = preview and preview.created_at
    values["labels"] = [label.to_dict() for label in c.labels]
    return values | {"extra": c.extra or None, "raw": raw.decode(), "exported_at": MOMENT}


def changed(records):
    """Return the records with a note added to each."""
    return [record.replace(b'"notes":', b'"notes":"changed","before":', 1) for record in records]


def test_each_column_has_the_records_value(store):
    """Each column has the value of the decoded record, or null if the record has none."""
    records = [*some_records(120), RICH, BARE]
    publish(store.sink(), records)

    assert read_values(store) == {decode_conversation(r).id: get_expected(r) for r in records}


def test_records_that_are_hard_to_hold(store):
    """Unusual records that are valid JSON, or almost valid JSON, are stored."""
    records = set_ids(WELL)
    publish(store.sink(), [BARE, *records.values()])

    held = read_values(store)
    assert len(held) == len(WELL) + 1
    for id_, raw in records.items():
        row = dict(zip(NAMES[:-1], build_row(raw), strict=True))
        wanted = {name: read_value(name, value) for name, value in row.items()}
        assert store.exact()[id_] == wanted["raw"]
        assert held[id_] | {"raw": wanted["raw"]} == wanted | {"exported_at": MOMENT}


def test_malformed_records_are_kept(store):
    """A record that is malformed or invalid JSON has a row with its id and its raw bytes."""
    records = set_ids(ODD)
    publish(store.sink(), [BARE, *records.values()])

    held = read_values(store)
    assert len(held) == len(ODD) + 1
    for raw in records.values():
        row = held[build_row(raw)[0]]
        assert store.exact()[row["id"]] == raw.decode(errors="replace")
        if is_odd(raw):  # the maximum depth of JSON depends on the version of Python
            assert not any(row[name] for name in NAMES[1:-2])


def is_odd(raw):
    try:
        decode_conversation(raw)
    except DecodeError:
        return True
    return False


def test_nul_characters(store):
    """U+0000 causes no error: the raw record keeps it, and columns contain U+0000 or U+FFFD."""
    raw = (
        rb'{"id":"a\u0000","notes":"b\u0000","new":"\u0000 \\u0000 \\\u0000","\u0000":1,'
        rb'"additional_data":{"x":["\u0000"]}}'
    )
    publish(store.sink(), [raw])

    ((id_, held),) = read_values(store).items()
    nul = "\ufffd" if store.kind == "postgres" else "\0"
    assert (id_, held["notes"]) == (f"a{nul}", f"b{nul}")
    assert held["extra"] == {"new": f"{nul} \\u0000 \\{nul}", nul: 1}
    assert held["additional_data"] == {"x": [nul]}
    assert store.exact() == {id_: raw.decode()}


def test_an_empty_export(store):
    """An empty export makes an empty table and a manifest."""
    manifest = publish(store.sink(), [])

    assert store.rows() == {}
    assert read_manifest(store) == manifest


def read_manifest(store, **options):
    with closing(store.sink(**options)) as sink:
        sink.open()
        return sink.manifest()


def test_rows_are_replaced_and_others_stay(store):
    """Rows with the same id are replaced, and rows that this export lacks are kept."""
    records = some_records(200)
    publish(store.sink(), records[:150])
    before = read_values(store)
    later = MOMENT + timedelta(days=1)
    with closing(store.sink()) as sink:
        sink.open()
        manifest = msgspec.structs.replace(a_manifest(sink.target), began=later)
        sink.publish(Given(changed(records[100:])), manifest)

    after = read_values(store)
    ids = [decode_conversation(record).id for record in records]
    assert {id_: after[id_] for id_ in ids[:100]} == {id_: before[id_] for id_ in ids[:100]}
    assert {after[id_]["notes"] for id_ in ids[100:]} == {"changed"}
    assert {after[id_]["exported_at"] for id_ in ids[100:]} == {later}
    assert len(after) == 200


def test_publishing_twice_is_publishing_once(store):
    """Publishing the same records again changes neither the table nor the manifest."""
    records = some_records(120)
    first = publish(store.sink(), records), store.rows()

    assert (publish(store.sink(), records), store.rows()) == first


def test_the_manifest_is_stored_for_each_table(store):
    """A table's manifest is from the last export into that table."""
    publish(store.sink(), some_records(3), conversations=3)
    last = publish(store.sink(), some_records(4), conversations=4)
    other = publish(store.sink(table="Other one, 100%s"), some_records(5), conversations=5)

    assert read_manifest(store) == last
    assert read_manifest(store, table="Other one, 100%s") == other
    assert read_manifest(store, table="a third") is None
    assert len(store.rows("Other one, 100%s")) == 5
    assert store.sink().stored() is None


@pytest.mark.parametrize("gone", ["DROP TABLE conversations", "DELETE FROM conversations"])
def test_the_manifest_of_a_dropped_table(store, gone):
    """A dropped or emptied table counts as having no manifest and is written completely."""
    manifest = publish(store.sink(), some_records(3), conversations=3)
    store.do(gone)

    assert read_manifest(store) is None
    assert publish(store.sink(), some_records(3), conversations=3) == manifest
    assert len(store.rows()) == 3


def test_a_manifest_that_cannot_be_read(store):
    """A manifest that another version of the package wrote counts as missing."""
    publish(store.sink(), some_records(3), conversations=3)
    store.do("UPDATE cekat_exports SET manifest = '{\"format\": 999}'")

    assert read_manifest(store) is None


@pytest.mark.parametrize(
    "old, error",
    [(0, KeyboardInterrupt()), (120, OSError(5, "x")), (120, RuntimeError("stop"))][
        : 3 if EFFORT > 1 else 2
    ],
)
def test_a_failure_in_the_middle_leaves_all_as_it_was(store, old, error):
    """An error while reading the records is raised, and table and manifest are unchanged."""
    records = some_records(700)
    if old:
        publish(store.sink(), records[:old], conversations=old)
    before = read_state(store) if old else (None, None)

    with pytest.raises(type(error)) as raised:
        publish(store.sink(), Given(changed(records), fail_after=6, error=error))

    assert raised.value is error
    assert read_state(store) == before
    publish(store.sink(), records)
    assert len(store.rows()) == 700


def read_state(store):
    return store.state("conversations", "cekat_exports")


def test_opening_alone_changes_nothing(store, tmp_path):
    """Opening and closing a sink neither creates nor changes a file or a table."""
    assert read_manifest(store) is None
    assert list_names(tmp_path) == []
    assert read_state(store) == (None, None)

    publish(store.sink(), some_records(3))
    before = read_state(store)
    with closing(store.sink()) as sink:
        sink.open()
    assert read_state(store) == before


def test_a_reader_sees_the_old_or_the_new(store):
    """Another connection sees the old rows during a write, and all new rows after it."""
    records = some_records(1_200)
    publish(store.sink(), records[:700])
    if store.kind == "sqlite":
        store.do("PRAGMA journal_mode = wal")
    seen = set()

    class Watched(Given):
        def __iter__(self):
            for batch in super().__iter__():
                seen.add(tuple(reader.execute(notes).fetchall()))
                yield batch

    notes = "SELECT count(*), sum(CASE WHEN notes = 'changed' THEN 1 ELSE 0 END) FROM conversations"
    with closing(store.connect()) as reader:
        publish(store.sink(), Watched(changed(records)))
        after = reader.execute(notes).fetchall()

    assert seen == {((700, 0),)}
    assert after == [(1_200, 1_200)]


SHAPES = {
    "without a column": ("ALTER TABLE conversations DROP COLUMN notes", "no column notes"),
    "with another one": ("ALTER TABLE conversations ADD COLUMN mine INTEGER", "also has mine"),
    "with another name": ("ALTER TABLE conversations RENAME COLUMN notes TO n", "also has n"),
    "of another type": (
        "DROP TABLE conversations; CREATE TABLE conversations (id INTEGER PRIMARY KEY, notes TEXT)",
        "id is INTEGER instead of",
    ),
    "without a key": (
        (
            "CREATE TABLE c AS SELECT * FROM conversations; DROP TABLE conversations; "
            "ALTER TABLE c RENAME TO conversations"
        ),
        "id is not its primary key",
    ),
    "a view": (
        "ALTER TABLE conversations RENAME TO c; CREATE VIEW conversations AS SELECT * FROM c",
        "id is not its primary key",
    ),
}


@pytest.mark.parametrize("statements,message", SHAPES.values(), ids=SHAPES)
def test_a_table_of_another_shape(store, statements, message):
    """A table with other columns is refused before any request, and is not altered."""
    publish(store.sink(), some_records(3), conversations=3)
    for statement in statements.split("; "):
        store.do(statement)
    before = store.ask("SELECT * FROM conversations")

    with closing(store.sink()) as sink, pytest.raises(TargetError) as raised:
        sink.open()

    assert re.search(message, str(raised.value), re.IGNORECASE)
    assert "name another table for the export, or drop this one" in str(raised.value)
    assert "\n" not in str(raised.value)
    with closing(store.sink()) as sink, pytest.raises(TargetError, match=message.split()[-1]):
        sink.manifest()
    assert store.ask("SELECT * FROM conversations") == before


def test_a_table_of_manifests_that_is_none(store):
    """If the table for manifests belongs to another program, the export is refused."""
    store.do("CREATE TABLE cekat_exports (id INTEGER)")

    with closing(store.sink()) as sink, pytest.raises(TargetError, match="cekat_exports is not"):
        sink.open()
    assert store.tables() == {"cekat_exports"}


def test_ones_own_indexes_are_welcome(store):
    """Indexes that a user added to the table are kept."""
    publish(store.sink(), some_records(30))
    store.do("CREATE INDEX mine ON conversations (created_at)")

    publish(store.sink(), changed(some_records(50)))

    assert len(store.rows()) == 50


@pytest.mark.parametrize(
    "name", ["", " ", "a.b", 'a"b', "a\0b", "cekat_exports", "x" * 64, "caf\udce9", None, 3]
)
def test_names_that_no_table_has(name):
    """A table name that is impossible or reserved is reported when the sink is created."""
    with pytest.raises(ConfigurationError, match="table"):
        require_table_name(name)


CHILD = """
import os, signal, sys, time
from support.sinks import publish, some_records
from cekat_async.export import sink_for
target, count = sys.argv[1:]
sink_for(target)  # imports the library, so that no child has to
records = [r.replace(b'"notes":', b'"notes":"changed","before":', 1)
           for r in some_records(int(count))]
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    if (child := os.fork()) == 0:
        publish(sink_for(target), records)
        os._exit(0)
    if line.strip():
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(time.perf_counter() - began, flush=True)
"""


class Publishers:
    """A process whose children publish the same records repeatedly, and can be killed."""

    def __init__(self, store, records):
        command = [sys.executable, "-c", CHILD, store.arguments, str(records)]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        )
        assert self._process.stdout.readline() == "ready\n"

    def publish(self, kill_after=""):
        """Publish in a child process, and kill it after ``kill_after`` seconds if that is given.

        Return how long it took.
        """
        print(kill_after, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self):
        self._process.communicate(timeout=300)


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_killed_at_any_moment(store):
    """After a kill, the table has the old or the new rows. Publishing again gives the new rows."""
    moments = random.Random(7)
    old = some_records(120)
    new = changed(some_records(200))
    publish(store.sink(), old)
    before = read_state(store)
    interrupted = runs = 0
    with closing(Publishers(store, 200)) as publishers:
        latest = publishers.publish()
        after = read_state(store)
        while runs < 2 * EFFORT or interrupted < EFFORT:
            store.do("DELETE FROM conversations")
            publish(store.sink(), old)
            moment = moments.uniform(0, latest)
            publishers.publish(kill_after=moment)
            found = read_state(store)
            assert found in (before, after)
            publish(store.sink(), new)
            assert read_state(store) == after
            runs += 1
            interrupted += found == before
            if found == after:  # the machine may write faster now than when it was measured
                latest = moment
