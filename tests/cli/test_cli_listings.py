"""The listing commands: columns, JSON, an agent's conversations, and local time."""

import io
import json
import os
import re
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from rich.cells import cell_len
from rich.console import Console

from cekat_async import Conversation, Inbox, MessagePreview, StageStatus
from cekat_async.cli import ExitCode
from cekat_async.cli.commands import listing_table
from cekat_async.cli.commands.listing_columns import (
    CONVERSATION_DEFAULT,
    INBOX_DEFAULT,
    get_column_names,
    parse_columns,
)
from cekat_async.frames.columns import COLUMNS
from cekat_async.sandbox import Fault, Sandbox

JAKARTA = timezone(timedelta(hours=7), "WIB")


@pytest.fixture
def _in_jakarta(monkeypatch):
    """The time zone of this process is that of Jakarta."""
    if not hasattr(time, "tzset"):
        pytest.skip("no way to change the zone of this process")
    monkeypatch.setenv("TZ", "Asia/Jakarta")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def show(columns, *records, width=80):
    """Return the lines of a table."""
    console = Console(file=io.StringIO(), width=width)
    console.print(listing_table.build_table(records, columns, width))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def handled(sandbox, **wanted):
    """Return the lines of the conversations whose fields have the given values."""
    lines = [record + b"\n" for _, record in sandbox.records()]
    return [
        line
        for line in lines
        if all(json.loads(line)[name] == value for name, value in wanted.items())
    ]


# Columns


@pytest.mark.parametrize("width", [40, 60, 80, 132, 200])
def test_a_table_is_as_wide_as_the_terminal(width):
    """No line of a table is wider than the terminal, however long the values are."""
    long = dict.fromkeys(("inbox_name", "handled_by_name", "notes"), "x" * 99)
    long["stage_status"] = StageStatus("x" * 99)
    preview = MessagePreview(message="m" * 999, created_at=datetime(2020, 1, 1, tzinfo=UTC))
    conversations = [Conversation(id="i" * 36, last_message=preview, **long), Conversation(id="2")]
    inboxes = [Inbox(id="i" * 36, name="n" * 99, type="t" * 99, status="s" * 99), Inbox(id="2")]
    every = parse_columns(",".join(get_column_names("conversation")[6:13]), "conversation")
    for columns in (CONVERSATION_DEFAULT, every):
        assert max(map(cell_len, show(columns, *conversations, width=width))) <= width
    assert max(map(cell_len, show(INBOX_DEFAULT, *inboxes, width=width))) <= width


@pytest.mark.parametrize("width", [30, 40, 50])
def test_a_narrow_terminal_shows_every_column(width):
    """On a narrow terminal, all columns become narrower, and none disappears."""
    preview = MessagePreview(message="m" * 99, created_at=datetime.now(UTC))
    one = Conversation(
        id="b8a2b8f8-8a31", inbox_name="n" * 30, handled_by_name="h" * 30,
        stage_status=StageStatus.ASSIGNED, last_message=preview,
    )  # fmt: skip
    lines = show(CONVERSATION_DEFAULT, one, width=width)
    first = next(line for line in lines if "b8" in line)

    assert re.fullmatch(r"b8a2\S* +n{2,}… +h{2,}… +as\S+ +m*… +\d\d-\d\d( \d\d:\d\d)?", first)
    # The id is wrapped and not truncated.
    assert "".join(line.partition(" ")[0] for line in lines[lines.index(first) :]) == "b8a2b8f8"


@pytest.mark.usefixtures("_in_jakarta")
def test_a_conversation_as_people_see_it():
    """The default columns are a short id, inbox, agent, status, last message and local time."""
    now = datetime.now(UTC)
    preview = MessagePreview(message="Halo\nkak", created_at=now)
    one = Conversation(
        id="b8a2b8f8-8a31-4a9b-b8a2-718001b45e43", inbox_name="CS", handled_by_name="Ani",
        stage_status=StageStatus.ASSIGNED, last_message=preview,
    )  # fmt: skip
    old = MessagePreview(created_at=datetime(2019, 12, 31, 20, tzinfo=UTC))
    heading, *rows = show(CONVERSATION_DEFAULT, one, Conversation(id="2", last_message=old))

    assert re.split(" {2,}", heading) == [
        "id", "inbox", "agent", "status", "last message", "at (WIB)",
    ]  # fmt: skip
    assert re.split(" {2,}", rows[0]) == [
        "b8a2b8f8", "CS", "Ani", "assigned", "Halo kak", f"{now.astimezone(JAKARTA):%m-%d %H:%M}",
    ]  # fmt: skip
    # An old time has its year instead of the time of day.
    assert rows[1].split() == ["2", "2020-01-01"]


def test_a_zone_with_summer_time_has_two_names(monkeypatch):
    """The heading names every time zone that occurs in the column."""
    if not hasattr(time, "tzset"):
        pytest.skip("no way to change the zone of this process")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        months = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 7)]
        columns = parse_columns("created_at", "conversation")
        heading, *_ = show(columns, *[Conversation(id="1", created_at=one) for one in months])
    time.tzset()

    assert heading == "created_at (CET/CEST)"


@pytest.mark.parametrize(
    "name, shown", [("WIB", "WIB"), ("+07", "UTC+0700"), ("SE Asia Standard Time", "UTC+0700")]
)
def test_the_name_of_a_zone(name, shown):
    """A time zone is shown with its short name, or with its offset if it has no short name."""
    moment = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=7), name))

    assert listing_table._describe_zones([moment, None, "text"]) == shown


def test_a_time_at_the_end_of_the_calendar_is_left_out():
    """A time that cannot be converted to local time is an empty cell, not an error."""
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    columns = parse_columns("short_id,created_at", "conversation")

    assert show(columns, Conversation(id="1", created_at=first))[1:] == ["1"]


def test_every_field_of_the_table_is_a_column():
    """The columns are those of an exported table, but with a short id and no raw record."""
    names = get_column_names("conversation")

    assert {"short_id", *(one.name for one in COLUMNS)} - {"raw"} <= set(names)
    assert len(parse_columns(",".join(names), "conversation")) == len(names)
    assert set(get_column_names("inbox")) >= {*Inbox.__struct_fields__} - {"extra"}


def test_short_names_of_columns():
    """A heading of one word is the name of its column.

    An id that was requested by name is shown completely.
    """
    short = parse_columns("id, Agent ,inbox,status,contact,phone,channel,at", "conversation")
    names = "id,handled-by-name,inbox_name,stage_status,contact_name,contact_phone,platform_type,"
    names += "last_message_at"

    assert short == parse_columns(names, "conversation")
    whole = "b8a2b8f8-8a31-4a9b-b8a2-718001b45e43"
    assert show(short[:1], Conversation(id=whole)) == ["id", whole]


@pytest.mark.parametrize(
    "columns, says",
    [
        ("halp", "there is no column 'halp'. The columns are inbox, channel, status, "),
        ("agnt", "there is no column 'agnt', did you mean agent? The columns are "),
        ("id,", "a name is empty. The columns are "),
        ("", "a name is empty. The columns are "),
        ("raw", "there is no column 'raw'"),
    ],
)
@pytest.mark.parametrize("command", ["conversations", "inboxes"])
def test_a_column_that_does_not_exist(cekat, command, columns, says):
    """The error about a wrong column suggests the nearest name and lists all names."""
    ended = cekat(command, "--sandbox", "--columns", columns)

    assert ended.code == ExitCode.USAGE
    if command == "conversations":
        assert f"Invalid value for '--columns': {says}" in ended.complaint
    assert "The columns are " in ended.complaint
    assert " id, " in ended.complaint


@pytest.mark.parametrize("command, kind", [("conversations", "conversation"), ("inboxes", "inbox")])
def test_help_lists_the_columns(cekat, command, kind):
    """``--columns help`` prints one name per line, all of which are valid. It needs no key."""
    ended = cekat(command, "--columns", "help")
    names = ended.out.decode().splitlines()

    assert (ended.code, ended.err) == (ExitCode.DONE, "")
    assert names == get_column_names(kind)
    assert len(parse_columns(",".join(names), kind)) == len(names)


@pytest.mark.parametrize("command", ["conversations", "inboxes"])
def test_json_and_columns_exclude_each_other(cekat, command):
    """``--json`` writes complete records, so it cannot be combined with ``--columns``."""
    ended = cekat(command, "--sandbox", "--json", "--columns", "id")

    assert ended.code == ExitCode.USAGE
    assert "either --json or --columns" in ended.complaint


@pytest.mark.usefixtures("_in_jakarta")
def test_columns_in_a_pipe_are_separated_by_tabs(cekat, served):
    """In a pipe, no value is truncated, there is no heading, and times have a date and a zone."""
    record = (
        rb'{"id":"b8a2b8f8-8a31","contact_name":"a\tb\nc\u001b[31m' + b"x" * 300 + b'",'
        b'"created_at":"2026-04-10T09:46:53+00:00","labels":[{"id":"1","name":"VIP"},{"id":"2"}],"notes":null},17'
    )
    with served() as sandbox:
        sandbox.fail_next(Fault.raw(body=b'{"data":[' + record + b"]}"))
        ended = cekat("conversations", "--columns", "short_id,contact,created_at,labels,status")

    assert ended.code == 0
    assert ended.out == (
        b"b8a2b8f8\ta b c [31m" + b"x" * 300 + b"\t2026-04-10T16:46:53+07:00\tVIP, 2\t\n"
    )
    assert ended.complaint.startswith("cekat: not shown: a record without an id is malformed")


@pytest.mark.parametrize(
    "text, printed",
    [
        ("x" * 50_000, "x" * 50_000),
        ("  two  blanks  ", "  two  blanks  "),
        ("👨‍👩‍👧\u202eab", "👨‍👩‍👧\u202eab"),
        ("a\r\n\tb\x00\x1b\x7f\x85\x9b\u2028\u2029c", "a   b       c"),
        ("half \ud83d", "half \\xed\\xa0\\xbd"),
    ],
)
def test_a_value_in_a_pipe_is_whole(text, printed):
    """A value is complete, except that each control character or line break becomes a space."""
    columns = parse_columns("id,contact", "conversation")
    line = listing_table.build_line(Conversation(id="1", contact_name=text), columns)

    assert line.decode() == f"1\t{printed}\n"


@pytest.mark.parametrize("arguments", [("conversations", "--columns", "id"), ("export", "x.jsonl")])
def test_the_event_of_a_malformed_record(cekat, served, arguments):
    """In a JSON log, a malformed record is an event of that name."""
    with served() as sandbox:
        sandbox.fail_next(*[Fault.raw(body=b'{"data":[17,{"id":"a"}]}')] * 3)
        ended = cekat(*arguments, "--log-format", "json")

    assert ended.code == ExitCode.DONE
    assert "malformed" in {one["event"] for one in ended.messages}


def test_columns_of_inboxes(cekat, served):
    """``inboxes`` has the same options. A boolean is shown in the same form as in JSON."""
    inbox = b'{"id":"1","name":"CS","flow_mode":true,"phone_number":"62811"}'
    with served() as sandbox:
        page = Fault.raw(body=b'{"data":[' + inbox + b"]}")
        sandbox.fail_next(page, Fault.raw(body=b'{"data":[]}'))
        ended = cekat("inboxes", "--columns", "id,flow_mode,phone_number,ai_agent_name")

    assert (ended.code, ended.out) == (0, b"1\ttrue\t62811\t\n")


@pytest.mark.parametrize("arguments", [("-n", "7"), ()])
def test_columns_in_a_pipe_keep_to_the_number(cekat, served, arguments):
    """``-n`` limits rows in the same way as records, and no further page is requested."""
    with served(250) as sandbox:
        ended = cekat("conversations", "--columns", "id", *arguments)

        ids = [key.encode() for key, _ in sandbox.records()]
        assert ended.out.split() == (ids[:7] if arguments else ids)
        assert len(sandbox.log.requests) == (1 if arguments else 3)


# One agent


@pytest.mark.parametrize(
    "typed, name, id_, matches",
    [
        ("Ani Putri", "Ani Putri", None, True),
        ("ANI  putri", "Ani Putri", None, True),
        ("ani", "Ani Putri", None, True),
        ("putri", "Ani Putri", None, True),
        ("ani", "Diani", None, False),
        ("ani", "Anita", None, False),
        ("ani putri", "Ani Lestari Putri", None, False),
        ("a.i", "Ani", None, False),
        ("straße", "STRASSE", None, True),
        ("andr\xe9", "Andre\u0301 Putra", None, True),
        ("Andre\u0301", "ANDR\xc9", None, True),
        ("andre", "Andr\xe9", None, False),
        ("\uff21\uff4e\uff49", "Ani", None, True),
        ("AGENT-1", "Ani", "agent-1", True),
        ("agent", "Ani", "agent-1", False),
        ("ani", None, None, False),
    ],
)
def test_an_agent_is_found(cekat, served, typed, name, id_, matches):
    """An agent is found by the complete id, or by whole words of the name, ignoring case."""
    record = {"id": "1", "handled_by_name": name, "handled_by_id": id_}
    with served() as sandbox:
        sandbox.fail_next(Fault.raw(body=json.dumps({"data": [record]}).encode()))
        ended = cekat("conversations", "--agent", typed)

    assert (ended.out != b"") is matches


@pytest.mark.parametrize("maximum", [None, 3])
def test_the_conversations_of_an_agent_in_a_pipe(cekat, served, maximum):
    """With ``--agent``, the command writes unchanged records until ``-n`` of them have matched."""
    with served(400) as sandbox:
        expected = handled(sandbox, handled_by_name="Bayu Nugroho", stage_status="assigned")
        arguments = ("--agent", "bayu nugroho", "--status", "assigned")
        ended = cekat("conversations", *arguments, *(["-n", str(maximum)] if maximum else []))

        assert ended.out == b"".join(expected[:maximum])
    assert len(expected) > 3
    assert (ended.code, ended.err) == (0, "")


def test_a_malformed_record_is_no_agents(cekat, served):
    """A malformed record belongs to no agent."""
    body = b'{"data":[17,{"id":"a","handled_by_name":"Ani"}]}'
    with served() as sandbox:
        sandbox.fail_next(Fault.raw(body=body))
        ended = cekat("conversations", "--agent", "ani")

    assert (ended.code, ended.out) == (0, b'{"id":"a","handled_by_name":"Ani"}\n')


@pytest.mark.parametrize(
    "arguments, says",
    [
        (
            ("--agent", "Nobody Here", "--status", "resolved"),
            "no conversation matches --status resolved --agent 'Nobody Here' (106 were read)",
        ),
        (("--inbox", "x"), "no conversation matches --inbox x"),
        (("--inbox", "x", "--json"), "no conversation matches --inbox x"),
        (("--inbox", "x", "--columns", "id", "-n", "5"), "no conversation matches --inbox x"),
    ],
)
def test_a_line_when_nothing_matches(cekat, served, arguments, says):
    """If nothing matches, standard output is empty, and one message repeats the search terms."""
    with served(400) as sandbox:
        resolved = sandbox.count(None, "resolved")
        ended = cekat("conversations", *arguments)

    assert (ended.code, ended.out) == (0, b"")
    assert ended.err == f"cekat: {says.replace('106', str(resolved))}\n"


@pytest.mark.parametrize(
    "command, says",
    [("conversations", "there is no conversation"), ("inboxes", "there is no inbox")],
)
def test_an_empty_account(cekat, served, command, says):
    """An empty account is reported in one line, or as JSON with ``--log-format json``."""
    with served(0, inboxes=0):
        ended, logged = cekat(command), cekat(command, "--log-format", "json")

    assert (ended.code, ended.out, ended.err) == (0, b"", f"cekat: {says}\n")
    assert [one["event"] for one in logged.messages] == ["nothing_found"]


@pytest.mark.parametrize("arguments", [("--agent", ""), ("--agent", "a", "--agent", "b")])
def test_wrong_agents(cekat, arguments):
    """An empty ``--agent`` or a second ``--agent`` is refused."""
    ended = cekat("conversations", "--sandbox", *arguments)

    assert ended.code == ExitCode.USAGE
    assert "Invalid value for '--agent': it" in ended.complaint


# On a terminal


@pytest.fixture
def _on_a_terminal(monkeypatch):
    """Standard output is treated as a terminal."""
    monkeypatch.setattr("cekat_async.cli.commands.listings.is_terminal", lambda: True)


@pytest.mark.usefixtures("_on_a_terminal")
@pytest.mark.parametrize(
    "arguments, rows, requests, says",
    [
        ((), 20, 1, "only the first 20 are shown. Use -n N for more, or a pipe for all"),
        # The command fetches one more record than it shows.
        (
            ("-n", "100"),
            100,
            2,
            "only the first 100 are shown. Use -n N for more, or a pipe for all",
        ),
        # A search prefetches the next page.
        (("--agent", "bayu", "-n", "3"), 3, 2, "3 found in 100 conversations. Use -n N for more"),
        (("--columns", "id", "-n", "150"), 150, 2, None),
    ],
)
def test_rows_and_requests_of_a_table(cekat, served, arguments, rows, requests, says):
    """A table has the requested number of rows, followed by a line if there are more."""
    with served(150) as sandbox:
        ended = cekat("conversations", *arguments)

        assert len(sandbox.log.requests) <= requests
    assert ended.code == 0
    assert ended.out.count(b"\n") == rows + 1
    assert ended.err == (f"cekat: {says}\n" if says else "")


@pytest.mark.usefixtures("_on_a_terminal")
def test_a_table_of_inboxes(cekat, served):
    """On a terminal, ``inboxes`` prints a table with complete ids."""
    with served(5, inboxes=3) as sandbox:
        ended = cekat("inboxes")

    assert [line.split()[-1].decode() for line in ended.out.splitlines()[1:]] == sandbox.inbox_ids


posix = pytest.mark.skipif(os.name != "posix", reason="a terminal as POSIX has it")


@pytest.fixture
def terminal():
    """The class that runs a command line on a terminal."""
    pytest.importorskip("fcntl", reason="a terminal as POSIX has it")
    from support.terminal import Terminal  # noqa: PLC0415 - only where there are terminals

    return Terminal


@posix
@pytest.mark.parametrize("command", ["conversations", "inboxes"])
def test_json_on_a_terminal(terminal, command):
    """``--json`` writes the same to a terminal as to a pipe."""
    code, text = terminal(command, "--sandbox", "--sandbox-size", "30", "--json").end()
    sandbox = Sandbox(30)
    records = sandbox.records() if command == "conversations" else sandbox.inbox_records()

    assert code == 0
    assert text.encode().splitlines() == [record for _, record in records]


@posix
@pytest.mark.parametrize("width", [80, 120])
def test_a_search_on_a_terminal(terminal, served, width):
    """A search shows its progress, ends at ``-n`` matches, and leaves only the table."""
    with served(1000) as sandbox:
        expected = handled(sandbox, handled_by_name="Bayu Nugroho")
        arguments = ("--agent", "bayu", "-n", "9")
        shell = terminal("conversations", *arguments, width=width)
        code, text = shell.end()
        read = 100 * len(sandbox.log.requests)
    *_, heading = [line for line in text.splitlines() if "last message" in line]
    rows = [line for line in text.splitlines() if re.search(" Bayu (Nugroho|N…|Nu…)", line)]

    assert code == 0
    assert len(expected) > 9 == len(rows)
    # The moving line was shown, and was removed before the table.
    assert re.search(rb"(searching|[0-9]+ found in [0-9]+ conversations)[^:]*\x1b\[2K", shell.seen)
    assert cell_len(heading.rpartition("\r")[2]) <= width
    last = text.splitlines()[-1]
    found = re.fullmatch(r"cekat: 9 found in (\d+) conversations. Use -n N for more", last)
    assert found
    assert int(found[1]) <= read


@posix
def test_a_search_to_the_end(terminal, served):
    """A search that reaches the end of the listing does not say that there is more."""
    with served(90):
        code, text = terminal("conversations", "--agent", "bayu", "-n", "89").end()

    assert code == 0
    assert re.search(r"cekat: \d+ found in 90 conversations\n$", text)


@posix
def test_a_search_that_fails_shows_what_it_found(terminal, served):
    """If a search fails, the command prints the records found so far, and then the error."""
    with served(1000) as sandbox:
        sandbox.fail_next(*[Fault.ok()] * 3, Fault.status(403))
        code, text = terminal("conversations", "--agent", "bayu", "-n", "500").end()
    lines = text.splitlines()

    assert code == ExitCode.KEY_REFUSED
    assert "HTTP 403" in lines[-1]
    assert any("Bayu" in line for line in lines)


@posix
def test_nothing_matches_on_a_terminal(terminal, served):
    """Without a match, one line repeats the search terms instead of a table."""
    with served(5):
        code, text = terminal("conversations", "--inbox", "x").end()

    assert (code, text) == (0, "cekat: no conversation matches --inbox x\n")
