"""What is in the file: every conversation, once, exactly as the server sent it."""

import json
import random
import tracemalloc

import pytest

from cekat_async import ConfigurationError, decode_conversation
from cekat_async.export import export_conversations
from cekat_async.sandbox import Dialect, Fault, Faults


@pytest.mark.parametrize("count", [1, 99, 100, 101, 350])
async def test_every_conversation_is_in_the_file_once_byte_for_byte(account, target, count):
    """The file holds each of the account's conversations exactly once, as the server sent it."""
    async with account(count) as a:
        await export_conversations(a.client, target)

        assert target.read_bytes() == a.lines()


async def test_an_account_without_conversations_gives_an_empty_file(account, target, partial):
    """Nothing to export is a finished export of nothing."""
    async with account(0) as a:
        report = await export_conversations(a.client, target)

    assert target.read_bytes() == b""
    assert not partial.exists()
    assert (report.conversations, report.pages) == (0, 1)


async def test_the_target_may_be_given_as_text(account, target):
    """A file name as text is as good as a path."""
    async with account(5) as a:
        await export_conversations(a.client, str(target))

        assert target.read_bytes() == a.lines()


async def test_only_one_inbox(account, target):
    """With ``inbox_id`` the file holds that inbox's conversations and no others."""
    async with account(300) as a:
        inbox = a.sandbox.inbox_ids[1]
        await export_conversations(a.client, target, inbox_id=inbox, limit=10)

        assert target.read_bytes() == a.lines(inbox_id=inbox) != b""


async def test_only_one_status(account, target):
    """With ``stage_status`` the file holds the conversations of that status and no others."""
    async with account(300) as a:
        await export_conversations(a.client, target, stage_status="resolved", limit=10)

        assert target.read_bytes() == a.lines(stage_status="resolved") != b""


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
async def test_whatever_the_dialect(account, target, dialect):
    """However the server spells timestamps, orders rows and ends its listing, the file is exact."""
    async with account(250, dialect=dialect) as a:
        await export_conversations(a.client, target, limit=30)

        assert target.read_bytes() == a.lines()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_bad_network_costs_no_record(account, target, seed):
    """With a quarter of all requests failing, the file still holds everything exactly once."""
    faults = Faults(
        drop=0.05, drop_mid_body=0.05, error=0.05, truncate=0.05, too_many=0.05, seed=seed
    )
    async with account(500, attempts=20, faults=faults) as a:
        report = await export_conversations(a.client, target, limit=10)

        assert target.read_bytes() == a.lines()
        assert report.retries > 10
        assert report.requests == len(a.sandbox.log.requests)


async def test_odd_records_are_written_counted_and_told(account, target, page_of):
    """A record of another shape than documented is in the file, and one hears of it."""
    records = [b'{"id":"a"}', b'{"id":["b"]}', b"17", b'{"id":"c"}', b'{"id":"d","labels":7}']
    told = []
    async with account() as a:
        a.sandbox.fail_next(Fault.raw(body=page_of(*records)))
        report = await export_conversations(a.client, target, on_odd_record=told.append)

    assert target.read_bytes().splitlines() == records
    assert report.conversations == 5
    assert report.odd_records == 3
    assert [odd.raw for odd in told] == [records[1], records[2], records[4]]


async def test_odd_records_need_nobody_to_tell(account, target, page_of):
    """Without ``on_odd_record`` an odd record stops nothing either."""
    async with account() as a:
        a.sandbox.fail_next(Fault.raw(body=page_of(b"null", b'{"id":"a"}')))
        report = await export_conversations(a.client, target)

    assert target.read_bytes() == b'null\n{"id":"a"}\n'
    assert (report.conversations, report.odd_records) == (2, 1)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
async def test_line_breaks_between_tokens_do_not_break_lines(account, target, newline):
    """A server that prints its JSON over many lines still gives one line a record, equal to it."""
    records = [
        {"id": "a", "notes": "two\nlines\r and\ttabs", "labels": [{"id": "x", "name": None}]},
        {"id": "b", "additional_data": {"deep": [1, [2, {"x": 3.5}]], "empty": {}}},
    ]
    body = json.dumps({"success": True, "data": records}, indent=2).replace("\n", newline)
    async with account() as a:
        a.sandbox.fail_next(Fault.raw(body=body.encode()))
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
async def test_no_byte_of_a_record_is_touched(account, target, page_of, record):
    """Halves of surrogate pairs, bad UTF-8, blanks and odd numbers are in the file as they came."""
    healthy = b'{"id":"b"}'
    async with account() as a:
        a.sandbox.fail_next(Fault.raw(body=page_of(healthy, record, healthy)))
        await export_conversations(a.client, target)

    assert target.read_bytes() == b"%s\n%s\n%s\n" % (healthy, record, healthy)


async def test_a_line_reads_back_as_the_conversation(account, target):
    """``decode_conversation`` makes of each line what the client had made of the record."""
    async with account(30) as a:
        await export_conversations(a.client, target)
        listed = [conversation async for conversation in a.client.conversations.list()]

    assert [decode_conversation(line) for line in target.read_bytes().splitlines()] == listed


@pytest.mark.parametrize(
    "name", ["", ".jsonl", "x", "x.csv", "x.jsonl.gz", "x.jsonl/", "a\0b.jsonl", "dir/.jsonl"]
)
async def test_a_target_nobody_can_write_is_refused_at_once(account, tmp_path, monkeypatch, name):
    """A name that says no format is refused before any request, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    async with account() as a:
        with pytest.raises(ConfigurationError, match=r"ends in \.jsonl"):
            await export_conversations(a.client, name)

        assert a.sandbox.log.requests == []
    assert list(tmp_path.iterdir()) == []


async def test_a_path_of_bytes_is_refused_by_name(account, target):
    """A path object that stands for bytes gets the same answer, and no TypeError."""

    class BytesPath:
        def __fspath__(self):
            return bytes(target)

    async with account() as a:
        with pytest.raises(ConfigurationError, match=r"ends in \.jsonl"):
            await export_conversations(a.client, BytesPath())


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"inbox_id": ""}, {"stage_status": " "}])
async def test_wrong_arguments_are_refused_at_once(account, tmp_path, target, wrong):
    """A wrong argument is refused before any request, and leaves nothing behind."""
    async with account() as a:
        with pytest.raises(ConfigurationError):
            await export_conversations(a.client, target, **wrong)

        assert a.sandbox.log.requests == []
    assert list(tmp_path.iterdir()) == []


async def test_memory_does_not_grow_with_the_number(account, target):
    """Five times as many conversations need no more memory at the same time."""

    async def peak(count):
        async with account(count) as a:
            tracemalloc.start()
            await export_conversations(a.client, target, limit=20)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

    await peak(40)  # what is imported or made with the first page counts for no one

    assert await peak(1000) < await peak(200) + 400_000


async def test_any_bytes_of_json_survive(account, target, page_of):
    """Records of random JSON, printed in random ways, are equal line by line."""
    chance = random.Random(7)
    records = [{"id": str(n), "notes": _random_json(chance, 3)} for n in range(100)]
    printed = [json.dumps(r, indent=chance.choice([None, 1, "\t"])).encode() for r in records]
    async with account() as a:
        a.sandbox.fail_next(Fault.raw(body=page_of(*printed)))
        report = await export_conversations(a.client, target)

    assert [json.loads(line) for line in target.read_bytes().splitlines()] == records
    assert report.conversations == 100


def _random_json(chance, depth):
    kind = chance.randrange(6 if depth else 4)
    if kind == 4:
        return [_random_json(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 5:
        return {_text(chance): _random_json(chance, depth - 1) for _ in range(chance.randrange(4))}
    return [None, chance.random(), chance.getrandbits(60), _text(chance)][kind]


def _text(chance):
    return "".join(chance.choice('a"\\\n\r\u2028é🙏{}[],: ') for _ in range(chance.randrange(9)))
