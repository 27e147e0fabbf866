"""The target has every conversation once, exactly as the server sent it."""

import json
import sqlite3
import tracemalloc
from contextlib import closing
from hashlib import blake2b

import pytest

from cekat_async import (
    ConfigurationError,
    InboxesFailedError,
    NotFoundError,
    PermissionDeniedError,
    StageStatus,
    decode_conversation,
)
from cekat_async.export import export_conversations
from cekat_async.sandbox import Dialect, Fault, Faults

# The first export asks for the account's business before any page.
ASK = Fault.ok()


def _lines(target):
    """Return the sorted lines of a file."""
    content = target.read_bytes()
    assert content == b"" or content.endswith(b"\n")
    return sorted(content.splitlines(keepends=True))


def _sorted(lines):
    return sorted(lines.splitlines(keepends=True))


def read_rows(database, query):
    """Return the rows of a query on an SQLite file."""
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute(query).fetchall()


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("count", [1, 100, 101, 350])
async def test_every_conversation_is_in_the_file_once_byte_for_byte(
    account, target, count, concurrency
):
    """The file holds each of the account's conversations exactly once, as the server sent it."""
    async with account(count) as a:
        report = await export_conversations(a.client, target, concurrency=concurrency)

        assert _lines(target) == _sorted(a.lines())
    assert report.conversations == count


async def test_one_page_is_in_the_order_of_the_listing(account, target):
    """In the file, the records of one page keep the order of that page."""
    async with account(100) as a:
        await export_conversations(a.client, target)

        assert target.read_bytes() == a.lines()


async def test_one_walker_keeps_the_order_of_a_quiet_account(account, target):
    """With one request at a time, the file has the listing's order, with repeated records last."""
    async with account(350) as a:
        await export_conversations(a.client, target, concurrency=1)
        records = [record for _, record in a.sandbox.records()]

    # The last look at the front fetches the first page again.
    assert target.read_bytes().splitlines() == records[100:] + records[:100]


async def test_an_account_without_conversations_gives_an_empty_file(account, tmp_path, target):
    """An export without conversations is complete, and its file is empty."""
    async with account(0) as a:
        report = await export_conversations(a.client, target)

    assert target.read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "conversations.jsonl",
        "conversations.jsonl.manifest.json",
    ]
    assert (report.conversations, report.pages) == (0, 1)


async def test_only_some_inboxes(account, target):
    """With ``inbox_ids``, the file contains only the conversations of those inboxes."""
    async with account(300) as a:
        first, second = a.sandbox.inbox_ids[:2]
        report = await export_conversations(
            a.client, target, inbox_ids=[first, second, first], page_size=10
        )

        wanted = a.lines(inbox_id=first) + a.lines(inbox_id=second)
        assert _lines(target) == _sorted(wanted) != []
        assert report.manifest.filters.inbox_ids == (first, second)
        assert {one.inbox_id for one in report.manifest.partitions} == {first, second}
        asked = [seen for seen in a.sandbox.log.requests if seen.path == "/api/conversations"]
        assert all("inbox_id=" in seen.query for seen in asked)


async def test_each_inbox_by_itself(account, target):
    """With ``by_inbox``, each inbox of the account is walked, and the file contains them all."""
    async with account(300) as a:
        report = await export_conversations(a.client, target, by_inbox=True, page_size=10)

        assert _lines(target) == _sorted(a.lines())
        partitions = {one.inbox_id: one for one in report.manifest.partitions}
        assert set(partitions) == set(a.sandbox.inbox_ids)
        for inbox_id, partition in partitions.items():
            assert partition.records >= a.sandbox.count(inbox_id)
            assert partition.error is None
    assert report.is_complete


async def test_an_account_without_inboxes_does_not_empty_the_target(account, target):
    """With ``by_inbox``, an export of an account without inboxes fails and keeps the target."""
    target.write_bytes(b"of an earlier export")
    async with account(0) as a:
        a.sandbox.fail_next(Fault.raw(body=b'{"success":true,"data":[]}'))
        with pytest.raises(
            ConfigurationError, match="the key has access to no inbox: leave out by_inbox=True, or"
        ):
            await export_conversations(a.client, target, by_inbox=True)

        assert len(a.sandbox.log.requests) == 1
    assert target.read_bytes() == b"of an earlier export"


async def test_an_empty_export_into_a_filled_table_warns(account, tmp_path, caplog):
    """If the account is suddenly empty, the table stays unchanged and a warning is logged."""
    target = tmp_path / "x.sqlite"
    async with account(3) as a:
        await export_conversations(a.client, target)
        for id_, _ in list(a.sandbox.records()):
            a.sandbox.delete(id_)
        await export_conversations(a.client, target)

    assert read_rows(target, "SELECT count(*) FROM conversations") == [(3,)]
    assert "no conversation was found, but the last export" in caplog.text


@pytest.mark.parametrize("status", ["resolved", StageStatus.RESOLVED])
async def test_only_one_status(account, target, status):
    """With ``stage_status``, the file contains only the conversations of that status."""
    async with account(300) as a:
        report = await export_conversations(a.client, target, stage_status=status, page_size=10)

        assert _lines(target) == _sorted(a.lines(stage_status="resolved")) != []
    assert report.manifest.filters.stage_status == "resolved"


async def test_one_status_of_each_inbox(account, target):
    """A status can be combined with inboxes, each of which is walked separately."""
    async with account(300) as a:
        await export_conversations(
            a.client, target, by_inbox=True, stage_status="pending", page_size=10
        )

        assert _lines(target) == _sorted(a.lines(stage_status="pending")) != []


async def test_an_inbox_that_fails_temporarily_is_resumed(account, target, tmp_path):
    """If an inbox fails temporarily, the export reads the other inboxes and then fails.

    The next run resumes.
    """
    async with account(300, attempts=1) as a:
        inbox_ids = a.sandbox.inbox_ids[:2]
        a.sandbox.fail_next(ASK, Fault.status(503))
        with pytest.raises(InboxesFailedError, match="503"):
            await export_conversations(a.client, target, inbox_ids=inbox_ids, page_size=10)

        assert not target.exists()
        assert (tmp_path / "conversations.jsonl.checkpoint").exists()
        report = await export_conversations(a.client, target, inbox_ids=inbox_ids, page_size=10)

        wanted = a.lines(inbox_id=inbox_ids[0]) + a.lines(inbox_id=inbox_ids[1])
        assert _lines(target) == _sorted(wanted)
    assert report.is_complete
    assert report.manifest.runs == 2
    assert report.resumed > 0


async def test_the_only_inbox_that_is_gone_ends_the_export(account, target):
    """If the only inbox fails, the error of that inbox is raised."""
    async with account(30) as a:
        a.sandbox.fail_next(ASK, Fault.status(404))
        with pytest.raises(NotFoundError) as caught:
            await export_conversations(a.client, target, inbox_ids=["gone"])

    assert caught.value.inbox_id == "gone"
    assert not target.exists()


@pytest.mark.parametrize(
    "dialect",
    [
        Dialect(end="empty_page", timestamps="space", collections_null=0.5),
        Dialect(end="missing_metadata", timestamps="naive", tie=250),
        Dialect(end="echo", timestamps="micro", order="ascending"),
        Dialect(order="created", compress="gzip"),
    ],
    ids=lambda dialect: dialect.end,
)
async def test_any_dialect(account, target, dialect):
    """The file is exact for any format of timestamps, any order, and any end of the listing."""
    async with account(250, dialect=dialect) as a:
        await export_conversations(a.client, target, page_size=30)

        assert _lines(target) == _sorted(a.lines())


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_bad_network_costs_no_record(account, target, seed):
    """If a quarter of all requests fail, the file still contains every record exactly once."""
    faults = Faults(
        drop=0.05, drop_mid_body=0.05, error=0.05, truncate=0.05, too_many=0.05, seed=seed
    )
    async with account(500, attempts=20, faults=faults) as a:
        report = await export_conversations(a.client, target, page_size=10)

        assert _lines(target) == _sorted(a.lines())
        assert report.retries > 10
        assert report.requests == len(a.sandbox.log.requests) == report.manifest.requests


async def test_malformed_records_are_written_counted_and_reported(account, target, make_page):
    """A malformed record is written, counted and reported."""
    records = [b'{"id":"a"}', b'{"id":["b"]}', b"17", b'{"id":"c"}', b'{"id":"d","a":NaN}']
    reported = []
    async with account(0) as a:
        # Only the first export asks for the business.
        for asks, on_malformed in (([ASK], None), ([], reported.append)):
            a.sandbox.fail_next(*asks, Fault.raw(body=make_page(*records)))
            report = await export_conversations(a.client, target, on_malformed=on_malformed)

            assert target.read_bytes().splitlines() == records
            assert (report.conversations, report.malformed_records) == (5, 3)
    assert {one.raw for one in reported} == {records[1], records[2], records[4]}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
async def test_line_breaks_between_tokens_do_not_break_lines(account, target, newline):
    """If the server sends JSON with line breaks, each record becomes one line of equal JSON."""
    records = [
        {"id": "a", "notes": "two\nlines\r and\ttabs", "labels": [{"id": "x", "name": None}]},
        {"id": "b", "additional_data": {"deep": [1, [2, {"x": 3.5}]], "empty": {}}},
    ]
    body = json.dumps({"success": True, "data": records}, indent=2).replace("\n", newline)
    async with account(0) as a:
        a.sandbox.fail_next(ASK, Fault.raw(body=body.encode()))
        await export_conversations(a.client, target)

    assert [json.loads(line) for line in target.read_text().split("\n")[:-1]] == records


@pytest.mark.parametrize(
    "record",
    [
        rb'{"id":"a","contact_name":"half an emoji \ud83d"}',
        rb'{"id":"a","contact_name":"\udc00\ud83d\ude00 and \\ud800"}',
        b'{"id":"a","contact_name":"not UTF-8: \xff\xfe\xc3"}',
        '{"id":"a","contact_name":"Jürgen 🙏","extra":1e400}'.encode(),
        b'{ "id" :  "a" ,"x":0.10000000000000000055,"y":12345678901234567890123}',
        b'{"id":"a","id":"a","notes":"\\u2028\\/\xe2\x80\xa8\xc2\x85"}',
    ],
)
async def test_no_byte_of_a_record_is_touched(account, target, make_page, record):
    """Lone surrogates, invalid UTF-8, spaces and unusual numbers are written unchanged."""
    healthy, other = b'{"id":"b"}', b'{"id":"c"}'
    async with account(0) as a:
        a.sandbox.fail_next(ASK, Fault.raw(body=make_page(healthy, record, other)))
        await export_conversations(a.client, target)

    assert target.read_bytes() == b"%s\n%s\n%s\n" % (healthy, record, other)


async def test_a_line_reads_back_as_the_conversation(account, target):
    """``decode_conversation`` turns a line into the conversation that the client returned."""
    async with account(30) as a:
        await export_conversations(a.client, target)
        listed = [conversation async for conversation in a.client.conversations.list()]

    assert [decode_conversation(line) for line in target.read_bytes().splitlines()] == listed


async def test_a_repeated_record_is_written_once_in_its_last_version(account, target, make_page):
    """If several records have the same id, only the last one is written, at its own position.

    The others count as repeats.
    """
    records = [b'{"id":"a","v":1}', b'{"id":"b"}', b"17", b'{"id":"a","v":2}', b"17", b'{"id":3}']
    async with account(0) as a:
        a.sandbox.fail_next(ASK, Fault.raw(body=make_page(*records)))
        report = await export_conversations(a.client, target)

    assert target.read_bytes().splitlines() == [records[1], *records[3:]]
    assert (report.conversations, report.manifest.fetched, report.manifest.repeats) == (4, 6, 2)


@pytest.mark.parametrize(
    "id_", [rb"\ud83d", rb"\u0000", r"\"", "🙏", "x" * 70_000, "\u2028"], ids=range(6)
)
async def test_any_id_is_a_name(account, target, make_page, id_):
    """Whatever its id is, a record is in the file once, in its last version."""
    text = id_ if isinstance(id_, bytes) else id_.encode()
    records = [b'{"id":"%s","v":1}' % text, b'{"id":"b"}', b'{"id":"%s","v":2}' % text]
    async with account(0) as a:
        a.sandbox.fail_next(ASK, Fault.raw(body=make_page(*records)))
        report = await export_conversations(a.client, target)

    assert target.read_bytes().splitlines() == records[1:]
    assert report.manifest.repeats == 1


async def test_one_broken_conversation_is_one_record_in_each_export(account, tmp_path, make_page):
    """Three exports of a conversation with broken text and a mistyped field write one line."""
    target, table = tmp_path / "x.jsonl", tmp_path / "x.sqlite"
    broken = rb'{"id":"a","contact_name":"Budi \ud83d","additional_data":[],"v":%d}'
    async with account(0) as a:
        for number in range(3):
            page = Fault.raw(body=make_page(broken % number))
            for path in (target, table):
                a.sandbox.fail_next(*[ASK] * (number == 0), page)
                report = await export_conversations(a.client, path, incremental=True)
    rows = read_rows(table, "SELECT id, contact_name FROM conversations")

    assert target.read_bytes() == broken % 2 + b"\n"
    assert rows == [("a", "Budi \ufffd")]
    assert (report.malformed_records, report.manifest.mistyped_fields) == (
        0,
        {"additional_data": 1},
    )


async def test_a_record_without_an_id_keeps_its_name(account, tmp_path, make_page):
    """A record without a readable id has one row, with the same ``odd:`` key in every export."""
    table = tmp_path / "x.sqlite"
    records = [b'{"id":3}', b"17", b'{"id":""}']
    names = {f"odd:{blake2b(record, digest_size=16).hexdigest()}" for record in records}
    async with account(0) as a:
        for _ in range(2):
            a.sandbox.fail_next(*[Fault.raw(body=make_page(*records))] * 2)
            await export_conversations(a.client, table)
    rows = read_rows(table, "SELECT id FROM conversations")

    assert {name for (name,) in rows} == names


async def test_mistyped_fields_leave_the_other_columns_alone(account, tmp_path, make_page):
    """A mistyped field is NULL or text in a table, and every other column has its value."""
    table = tmp_path / "x.sqlite"
    records = make_page(
        b'{"id":"a","stage_status":"open","contact_phone":628123,"created_at":1775800036}',
        b'{"id":"b","stage_status":"open","additional_data":{"n":1e999}}',
        b'{"id":"c","stage_status":"open","labels":[{"id":"l"},7],"last_message":"hi"}',
    )
    async with account(0) as a:
        a.sandbox.fail_next(ASK, *[Fault.raw(body=records)] * 2)
        report = await export_conversations(a.client, table)

    counts = read_rows(table, "SELECT stage_status, count(*) FROM conversations GROUP BY 1")
    assert counts == [("open", 3)]
    columns = "SELECT contact_phone, created_at, labels, extra FROM conversations"
    assert read_rows(table, columns) == [
        ("628123", None, "[]", '{"contact_phone":628123,"created_at":1775800036}'),
        (None, None, "[]", None),
        (None, None, '[{"id":"l"}]', '{"labels":[{"id":"l"},7],"last_message":"hi"}'),
    ]
    assert report.manifest.mistyped_fields == {
        **dict.fromkeys(("contact_phone", "created_at", "labels", "last_message"), 1),
    }


async def test_conversations_that_move_are_there_once_in_their_latest_version(account, target):
    """If conversations change, appear or disappear during an export, no others are lost."""
    touched, created = [], []

    def on_progress(progress):
        if len(touched) < 3 and progress.published is None:
            touched.append(ids[-1 - 40 * len(touched)])
            a.sandbox.touch(touched[-1])
            created.append(a.sandbox.create())

    async with account(500) as a:
        ids = [id_ for id_, _ in a.sandbox.records()]
        report = await export_conversations(
            a.client, target, on_progress=on_progress, page_size=20, concurrency=1
        )

        lines = _lines(target)
        found = {json.loads(line)["id"]: line.removesuffix(b"\n") for line in lines}
        assert len(found) == len(lines) == report.conversations
        now = dict(a.sandbox.records())
    assert set(ids) <= set(found) <= set(now)
    # A conversation may be outdated only if it was touched during the export.
    assert {id_ for id_ in ids if found[id_] != now[id_]} <= set(touched)


@pytest.mark.parametrize(
    "name", ["", ".jsonl", "x", "x.json", "x.txt.gz", "x.jsonl/", "a\0b.jsonl", "dir/.jsonl"]
)
async def test_a_target_of_no_known_kind_is_refused_at_once(account, tmp_path, monkeypatch, name):
    """If the target's format is unknown, the export ends before any request and leaves no files."""
    monkeypatch.chdir(tmp_path)
    async with account() as a:
        with pytest.raises(ConfigurationError, match=r"^cannot export to .*: use one of \.jsonl, "):
            await export_conversations(a.client, name)

        assert a.sandbox.log.requests == []
    assert list(tmp_path.iterdir()) == []


async def test_a_path_of_bytes_is_refused_by_name(account, target):
    """A path object that returns bytes raises a ConfigurationError, not a TypeError."""

    class BytesPath:
        def __fspath__(self):
            return bytes(target)

    async with account() as a:
        with pytest.raises(ConfigurationError, match=r"^cannot export to .*: use one of \.jsonl, "):
            await export_conversations(a.client, BytesPath())


@pytest.mark.parametrize(
    "wrong",
    [
        {"page_size": 0},
        {"page_size": 1.5},
        {"concurrency": 0},
        {"inbox_ids": "an inbox"},
        {"inbox_ids": [""]},
        {"inbox_ids": [" "]},
        {"inbox_ids": ["a"], "by_inbox": True},
        {"stage_status": " "},
        {"stage_status": ""},
        {"by_inbox": True, "page_size": 0},
    ],
    ids=str,
)
async def test_wrong_arguments_are_refused_at_once(account, tmp_path, target, wrong):
    """The export refuses a wrong argument before any request and leaves no files."""
    async with account() as a:
        with pytest.raises(ConfigurationError):
            await export_conversations(a.client, target, **wrong)

        assert a.sandbox.log.requests == []
    assert list(tmp_path.iterdir()) == []


async def test_a_failure_that_concerns_all_ends_all(account, target):
    """If the server refuses the key, that error is raised and not treated as an inbox failure."""
    async with account(300) as a:
        a.sandbox.fail_next(*[Fault.status(401)] * 9)
        with pytest.raises(Exception, match="401") as caught:
            await export_conversations(a.client, target, inbox_ids=a.sandbox.inbox_ids)

    assert not isinstance(caught.value, (InboxesFailedError, PermissionDeniedError))
    assert not target.exists()


@pytest.mark.once
async def test_memory_does_not_grow_with_the_number(account, target):
    """Exporting four times as many conversations does not increase the peak memory."""

    async def peak(count):
        async with account(count, cache=0) as a:
            tracemalloc.start()
            await export_conversations(a.client, target, page_size=20, concurrency=1)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

    # At most 16 pages wait for the disk; the machine decides how many. 1,500 more records would
    # take 2 MB as bytes alone.
    await peak(40)  # so that imports and objects of the first page do not count

    assert await peak(2000) < await peak(500) + 1_500_000
