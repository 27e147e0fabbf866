"""The output on a terminal of 80 columns."""

import asyncio
import io
import json
import math
import re
import signal
from datetime import UTC, datetime

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console
from support.clock import now, run_virtual

from cekat_async import LimiterSnapshot
from cekat_async.cli.commands import export_progress
from cekat_async.cli.commands.export_progress import Snapshot
from cekat_async.cli.commands.export_summary import describe_failures, summarize
from cekat_async.cli.formatting import format_duration, format_rate
from cekat_async.cli.reporter import Reporter
from cekat_async.export import ExportProgress, ExportReport, Filters, Manifest, Partition
from cekat_async.sandbox import Fault

pytest.importorskip("fcntl", reason="a terminal as POSIX has it")
from support.terminal import ESCAPES, Terminal


def test_conversations_are_a_table(served):
    """On a terminal, ``conversations`` prints a table with readable columns."""
    with served(50):
        code, text = Terminal("conversations", env={"TZ": "Asia/Jakarta"}).end()
    heading, *rows, rest = text.splitlines()

    assert code == 0
    assert re.split(" {2,}", heading.strip()) == [
        "id", "inbox", "agent", "status", "last message", "at (WIB)",
    ]  # fmt: skip
    assert len(rows) == 20
    assert all(re.match("[0-9a-f]{8}  ", row) for row in rows)
    assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert all(re.search(r" (assigned|resolved|pending|open) ", row) for row in rows)
    assert rest == "cekat: only the first 20 are shown. Use -n N for more, or a pipe for all"


def test_a_table_of_all_there_are(served):
    """A table of all conversations takes one request, and does not say that there are more."""
    with served(5) as sandbox:
        code, text = Terminal("conversations", "-n", "5").end()

        assert len(sandbox.log.requests) == 1
    assert (code, len(text.splitlines())) == (0, 6)


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "utf-8"])
def test_a_table_on_a_terminal_that_lacks_characters(encoding):
    """If the terminal lacks characters, the table keeps its rows and columns.

    Missing characters become question marks.
    """
    environment = {"PYTHONIOENCODING": encoding, "TZ": "UTC"}
    terminal = Terminal("conversations", "--sandbox", env=environment)
    code, text = terminal.end(encoding)
    heading, *rows, _ = text.splitlines()

    assert (code, len(rows)) == (0, 20)
    assert ("…" in text) == (encoding == "utf-8")
    if encoding != "utf-8":  # here a character may be as wide as two columns
        times = {row[heading.index("at (UTC)") :].strip() for row in rows} - {""}
        assert times
        assert all(re.fullmatch(r"[0-9: -]{10,11}", time) for time in times)


def test_inboxes_are_a_table():
    """On a terminal, ``inboxes`` prints a table with complete ids."""
    code, text = Terminal("inboxes", "--sandbox").end()
    heading, *rows = text.splitlines()

    assert code == 0
    assert heading.split() == ["name", "channel", "status", "id"]
    assert len(rows) == 8
    assert all(re.search(r" [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", row) for row in rows)
    assert all(cell_len(line) <= 80 for line in text.splitlines())


STRANGE = (
    b'[red]Budi[/red]", "last_message": {"message": "[bold]:smile:"},"id":"1',
    rb'\u001b[31mred\u001b[0m\u0007", "last_message": {"message": "a\nb\r\tc\u0000"},"id":"2',
    "👨‍👩‍👧 🙏🏽 ❤️ 한국어 \u202eevil\u202c".encode() + b'","id":"3',
    rb'half \ud83d", "id":"4',
    b"x" * 5000 + b'", "last_message": {"message": "' + b"y" * 5000 + b'"},"id":"5',
)


def test_texts_of_strangers_do_not_break_a_table(served):
    """Markup, escapes, line breaks, emoji and long names are shown as text on one line."""
    records = b",".join(b'{"contact_name":"' + strange + b'"}' for strange in STRANGE)
    with served() as sandbox:
        sandbox.fail_next(Fault.raw(body=b'{"data":[' + records + b"]}"))
        terminal = Terminal("conversations", "--columns", "contact,last_message")
        code, text = terminal.end()
    _, *rows = text.splitlines()

    assert code == 0
    assert len(rows) == len(STRANGE)
    assert all(cell_len(row) <= 80 for row in rows)
    assert rows[0].startswith("[red]Budi[/red] ")
    assert "[bold]:smile:" in rows[0]
    assert rows[1].startswith("[31mred [0m ")
    assert "a b c" in rows[1]
    assert b"\x1b[31m" not in terminal.seen
    assert "\u202e" not in text
    assert "xxx…" in rows[4]
    assert "yyy…" in rows[4]


# Delete, C1 control characters, and characters that change the direction of text.
CONTROLS = "\x7f\x80\x9b\x9f\u061c\u200e\u200f\u202a\u202e\u2066\u2069"


@pytest.mark.parametrize("command", ["conversations", "inboxes"])
def test_json_on_a_terminal_does_not_control_it(served, cekat, command):
    """On a terminal, control characters are escaped in the JSON. A pipe gets them unchanged."""
    others = "\xa0\xe9\u200d\u2029\u2065 👨‍👩‍👧"
    record = json.dumps({"id": "1", "name": CONTROLS + others}, ensure_ascii=False).encode()
    pages = [Fault.raw(body=b'{"data":[' + one + b"]}") for one in (record, b"")]
    with served() as sandbox:
        sandbox.fail_next(*pages[: 1 + (command == "inboxes")])
        terminal = Terminal(command, "--json")
        code, text = terminal.end()
        sandbox.fail_next(*pages[: 1 + (command == "inboxes")])
        piped = cekat(command, "--json")

    assert code == 0
    assert json.loads(text) == json.loads(record)
    assert not {*text} & {*CONTROLS}
    assert others in text
    assert piped.out == record + b"\n"


def test_malformed_records_are_reported_and_not_shown(served):
    """A malformed record is reported in one line of plain text instead of a row."""
    odd = rb'{"data":[{"id":"\u001b[31m\n[b]","a":NaN},{"id":"a","inbox_name":"Budi"}]}'
    with served() as sandbox:
        sandbox.fail_next(Fault.raw(body=odd))
        terminal = Terminal("conversations")
        code, text = terminal.end()

    assert code == 0
    assert "cekat: not shown: record [31m [b] is malformed at $: " in text
    assert b"\x1b[31m" not in terminal.seen
    assert any(line.startswith("a   Budi ") for line in text.splitlines())


def test_an_export_shows_a_moving_line():
    """On a terminal, the progress is one moving line, which the summary replaces."""
    arguments = ("--sandbox", "--sandbox-size", "1500", "--rate-limit", "300/30")
    terminal = Terminal("export", "x.jsonl", *arguments)
    code, text = terminal.end()

    assert code == 0
    assert "asking for the first page" in text or "100 records" in text
    assert b"\x1b[2K" in terminal.seen  # the line is erased
    assert terminal.seen.rstrip().endswith(b"manifest: x.jsonl.manifest.json")
    assert "x.jsonl: 1,500 conversations, complete\n" in text


def test_an_export_on_a_terminal_that_cannot_move(served):
    """A terminal without cursor movement gets plain lines."""
    with served(150):
        code, text = Terminal("export", "x.jsonl", env={"TERM": "dumb"}).end()
    first, second, *_ = text.splitlines()

    assert code == 0
    assert first.endswith("0 records")
    assert second == "x.jsonl: 150 conversations, complete"


def test_a_log_gets_no_moving_line_even_if_colour_is_forced(cekat, monkeypatch):
    """A log gets plain lines even with ``FORCE_COLOR``, which CI systems set."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    ended = cekat("export", "x.jsonl", "--sandbox", "--sandbox-size", "150")

    assert "\x1b[2K" not in ended.err
    assert "\r" not in ended.err


@pytest.mark.usefixtures("loop")
def test_interrupting_an_export_leaves_a_clean_terminal():
    """After Ctrl-C, the moving line is gone, the cursor is visible, and two lines say why."""
    # Twenty of fifty pages arrive immediately, so the export is running whenever the signal
    # arrives.
    terminal = Terminal("export", "x.jsonl", "--sandbox", "--rate-limit", "20/60")
    terminal.wait_for(b"00 records")
    terminal.process.send_signal(signal.SIGINT)
    code, text = terminal.end()
    *_, first, second = text.splitlines()

    assert code == 130, text
    assert first.endswith("cekat: interrupted")
    assert second.startswith("cekat: not finished: ")
    assert second.endswith(
        " conversations are in x.jsonl.checkpoint. To resume, run the same command again"
    )
    assert terminal.seen.rindex(b"\x1b[?25h") > terminal.seen.rindex(b"\x1b[?25l")
    assert "Traceback" not in text


def test_warnings_do_not_break_the_moving_line(served):
    """A retry is reported above the moving line, on a line of its own."""
    with served(150) as sandbox:
        sandbox.fail_next(Fault.ok(), Fault.status(503))
        code, text = Terminal("export", "x.jsonl").end()
    lines = [line for line in re.split("[\r\n]", text) if "attempt 1 failed" in line]

    assert code == 0
    assert len(lines) == 1
    assert lines[0].startswith("cekat: attempt 1 failed, next in ")


def test_a_pause_is_shown_on_the_moving_line(served):
    """During a pause that the server asked for, the moving line counts down the remaining time."""
    with served(150) as sandbox:
        again = Fault.status(429, headers={"Retry-After": "2"})
        sandbox.fail_next(*[Fault.ok()] * 3, again)
        code, text = Terminal("export", "x.jsonl", "--concurrency", "1").end()

    assert code == 0
    assert re.search("100 records, waiting [12] s: the server asks for a pause 0:0", text)
    assert "refused 1 time (429)" in text


AT_EASE = LimiterSnapshot(
    limit=300,
    per=60.0,
    source="stated",
    windows=(),
    used=12,
    remaining=288,
    in_flight=1,
    waiting=0,
    next_in=0.2,
    waits_for="pace",
    paused_for=0.0,
    pause_reason="",
    sent=12,
    refused=0,
    refused_for={},
    last_refusal=None,
    earned=12.0,
)


def at(limiter=AT_EASE, **changes):
    """Return a snapshot of a limiter with the given changes."""
    return msgspec.structs.replace(limiter, **changes)


WAITING = at(waiting=1, next_in=22.3)
HELD = at(next_in=22.3, paused_for=22.3, pause_reason="the server asks for a pause")
DAY_SPENT = at(next_in=27_000.0, paused_for=27_000.0, pause_reason="the daily quota is used up")

USUAL = ExportProgress(
    conversations=12_300,
    fetched=12_300,
    pages=123,
    requests=123,
    seconds=25.36,
    limit=300,
    per=60.0,
    earned=126.8,
)
HUGE = ExportProgress(
    conversations=12_345_678,
    fetched=12_345_678,
    pages=123_457,
    requests=123_999,
    retries=542,
    refused=540,
    seconds=24_800.0,
    limit=300,
    per=60.0,
    earned=124_000.0,
)


EXPECTED = msgspec.structs.replace(USUAL, expected=40_200)
WRITING = msgspec.structs.replace(
    EXPECTED, conversations=40_200, published=12_000, to_publish=40_100
)


@pytest.mark.parametrize(
    "progress, limiter, shown",
    [
        (HUGE, AT_EASE, "12,345,678 records, 29,869/min, 100% of the quota, 542 retries"),
        (HUGE, WAITING, "12,345,678 records, 29,869/min, 100% of the quota, waiting 23 s"),
        (USUAL, AT_EASE, "12,300 records, 29,101/min, 97% of the quota"),
        (USUAL, HELD, "12,300 records, 29,101/min, 97% of the quota, waiting 23 s"),
        (USUAL, DAY_SPENT, "12,300 records, 29,101/min, 97% of the quota, waiting 7 h 30 min"),
        (
            EXPECTED,
            AT_EASE,
            "12,300 of about 40,200 records, 97% of the quota, 58 s left",
        ),
        (
            EXPECTED,
            HELD,
            "12,300 of about 40,200 records, 29,101/min, 2 min left, waiting 23 s",
        ),
        (
            ExportProgress(),
            HELD,
            "asking for the first page, waiting 23 s: the server asks for a pause",
        ),
        (WRITING, AT_EASE, "writing 12,000 of 40,100 conversations to x.jsonl"),
        # If there are more records than in the last export, the remaining number is unknown.
        (
            msgspec.structs.replace(USUAL, expected=12_000),
            AT_EASE,
            "12,300 records, 29,101/min, 97% of the quota",
        ),
        # An incremental export counts the existing conversations before it writes.
        (
            msgspec.structs.replace(WRITING, published=0, to_publish=None),
            AT_EASE,
            "preparing to write to x.jsonl",
        ),
        (
            msgspec.structs.replace(WRITING, published=0, to_publish=None, compared=12_000),
            AT_EASE,
            "comparing with 12,000 old conversations of x.jsonl",
        ),
        (msgspec.structs.replace(WRITING, published=40_100), AT_EASE, "finishing x.jsonl"),
    ],
)
def test_the_moving_line_fits(progress, limiter, shown):
    """The moving line has the most important facts and fits 80 columns."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    bar = export_progress.ProgressBar(
        Reporter(console), lambda: Snapshot(progress, limiter, "x.jsonl")
    )
    bar.refresh()

    with console.capture() as seen:
        console.print(bar._progress.get_renderable())
    line = ESCAPES.sub("", seen.get()).rstrip("\n")
    assert f" {shown} " in line
    assert "\n" not in line
    assert cell_len(line) <= 80


def test_a_long_target_does_not_break_the_moving_line():
    """If the target does not fit on the line, it is omitted."""
    snapshot = Snapshot(WRITING, AT_EASE, "/very/long" * 9)

    assert export_progress._describe(snapshot, 69) == "writing 12,000 of 40,100 conversations"


@pytest.mark.parametrize(
    "limiter, left",
    [
        (AT_EASE, 57.5),
        (HELD, 57.5 + 22.3),
        # 279 requests remain, and 9 of them may be sent immediately.
        (at(WAITING, remaining=9), 54.0),
        (at(WAITING, remaining=9, limit=30), 540.0),
        (at(WAITING, remaining=None), 57.5),
        (at(AT_EASE, limit=None, per=0.0), 57.5),
    ],
)
def test_the_time_left_is_what_the_quota_allows(limiter, left):
    """The remaining time is estimated from the quota, not from the fast start."""
    found = export_progress._estimate_seconds_left(Snapshot(EXPECTED, limiter, "x"))

    assert found == pytest.approx(max(left, 57.5), abs=0.1)


def test_data_on_a_terminal_has_the_screen_for_itself():
    """The moving line is removed before the first record is printed on the same terminal."""
    terminal = Terminal("export", "-", "--sandbox", "--sandbox-size", "150")
    code, text = terminal.end()
    lines = [line.rpartition("\r")[2] for line in text.splitlines()]

    assert code == 0
    assert sum(line.startswith('{"id":"') for line in lines) == 150
    assert terminal.seen.rindex(b"\x1b[?25h") < terminal.seen.index(b'{"id":"')


@pytest.mark.parametrize(
    "limiter, shown",
    [
        (AT_EASE, ""),
        (WAITING, ", waiting 23 s for the quota (300/min)"),
        (at(WAITING, limit=None, per=0.0), ", waiting 23 s for the quota"),
        (at(WAITING, waits_for="others"), ", waiting 23 s for others on this address"),
        (HELD, ", waiting 23 s: the server asks for a pause"),
        (DAY_SPENT, ", waiting 7 h 30 min: the daily quota is used up"),
        (at(WAITING, next_in=1.0), ", waiting 1 s for the quota (300/min)"),
        # an evenly paced interval, a request in flight, and a wait for the first reply
        (at(WAITING, next_in=0.99), ""),
        (at(WAITING, waiting=0), ""),
        (at(WAITING, next_in=math.inf), ""),
    ],
)
def test_a_wait_is_shown_with_its_reason(limiter, shown):
    """A wait of a second or more is shown with its reason if there is space."""
    begun = "12,300 records, 29,101/min, 97% of the quota"

    assert export_progress._describe(Snapshot(USUAL, limiter, "x")) == begun + shown


@pytest.mark.parametrize(
    "limiter, waiting_for",
    [
        (AT_EASE, None),
        (WAITING, "the quota"),
        (at(WAITING, waits_for="others"), "others on this address"),
        (at(HELD, waits_for="pause"), "the server asks for a pause"),
    ],
)
def test_json_reports_what_a_request_waits_for(limiter, waiting_for):
    """In the event ``progress``, ``waiting_for`` has the reason for a wait of a second or more."""
    fields = export_progress._get_fields(Snapshot(USUAL, limiter, "x"))

    assert fields["waiting_for"] == waiting_for


def test_a_display_is_refreshed_by_itself():
    """The display is refreshed four times a second while the export runs."""
    refreshed = []

    class Display:
        def start(self):
            assert refreshed == []

        def refresh(self):
            refreshed.append(now())

        def stop(self):
            assert now() == pytest.approx(0.9)

    async def main():
        with export_progress.shown(Display()):
            await asyncio.sleep(0.9)
        await asyncio.sleep(5)

    run_virtual(main())
    assert refreshed == pytest.approx([0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s"),
        (22.01, "22 s"),
        (22.3, "23 s"),
        (59.2, "1 min"),
        (61, "2 min"),
        (3600, "1 h"),
        (3600.04, "1 h"),
        (29_520, "8 h 12 min"),
        (86_399, "24 h"),
        (4_000_000, "1,111 h 7 min"),
    ],
)
def test_a_span_in_words(seconds, words):
    """A duration has at most two units, and is never rounded down."""
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    "limit, seconds, words",
    [(300, 60.0, "300/min"), (8, 1.0, "8/s"), (300, 3.0, "300/3 s"), (10_000, 86400.0, "10,000/d")],
)
def test_a_rate_in_few_letters(limit, seconds, words):
    """A rate is shown in the shortest form."""
    assert format_rate(limit, seconds) == words


MANIFEST = Manifest(
    version="1",
    account="a",
    target="x.jsonl",
    filters=Filters(),
    began=datetime(2026, 4, 10, tzinfo=UTC),
    ended=datetime(2026, 4, 10, tzinfo=UTC),
    conversations=12_345_678,
    fetched=12_345_678,
    pages=123_457,
    requests=123_999,
    retries=542,
    refused=540,
    partitions=(Partition(),),
)


def make_report(progress=HUGE, **changes):
    """Return a report with the given changes to its manifest."""
    manifest = msgspec.structs.replace(MANIFEST, **changes)
    return ExportReport(target="x.jsonl", manifest=manifest, **msgspec.structs.asdict(progress))


def test_a_summary_fits():
    """The summary of a long and busy export with all its remarks fits 80 columns."""
    report = make_report(
        waited=4321.0,
        fetched=12_345_999,
        repeats=321,
        malformed_records=12,
        incremental=True,
        mistyped_fields={"labels": 4, "notes": 31},
        unknown_fields={f"x_a_field_with_a_long_name_{n}": n * 1000 for n in range(9)},
    )

    lines = summarize(report, "x.jsonl.manifest.json").splitlines()
    assert lines == [
        "x.jsonl: 12,345,678 conversations, complete",
        "123,999 requests (542 retries)",
        "6 h 54 min, 29,869 conversations/min, 100% of the quota of 300 in 60 s",
        "incremental: 12,345,678 conversations fetched",
        "waited 1 h 13 min for the quota",
        "refused 540 times (429)",
        "unknown fields: x_a_field_with_a_lon (8,000 records), and 8 more",
        "mistyped fields: notes (31 records), labels (4)",
        "malformed records: 12, in tables with only their id and raw",
        "manifest: x.jsonl.manifest.json",
    ]
    assert all(len(line) <= 80 for line in lines)


def test_a_summary_of_many_inboxes():
    """At most ten inboxes have a line each, and failed ones are marked."""
    parts = tuple(
        Partition(inbox_id=f"inbox-{n}", records=n, pages=1, error="no" if n == 1 else None)
        for n in range(13)
    )
    lines = summarize(make_report(partitions=parts, complete=False), None).splitlines()

    assert lines[0] == "x.jsonl: 12,345,678 conversations, partial"
    assert lines[4:6] == [
        "inbox inbox-0: 0 records fetched",
        "inbox inbox-1: 1 record fetched, failed",
    ]
    assert lines[14:] == ["and 3 more inboxes: see the manifest"]


@pytest.mark.parametrize("failed, more", [(5, []), (6, ["and 1 more inbox"])])
def test_inboxes_that_failed_are_reported_with_their_reason(failed, more):
    """At most five failed inboxes are reported with their reasons.

    The manifest has all failed inboxes.
    """
    parts = tuple(Partition(inbox_id=f"i{n}", error="403") for n in range(failed))
    lines = [*describe_failures(msgspec.structs.replace(MANIFEST, partitions=parts))]

    assert lines[:5] == [f"inbox i{n} failed: 403" for n in range(5)]
    assert lines[5:] == [f"{text} failed: the manifest has all" for text in more]


def test_lines_of_progress_keep_their_distance(monkeypatch):
    """A log has a progress line at intervals, not for each page, and only after new pages."""
    now = iter([10.0, 12.0, 14.9, 15.0, 21.0, 27.0, 33.0])
    monkeypatch.setattr(export_progress, "_now", lambda: next(now))
    pages = [1, 4, 4, 6, 6]  # the display checks whether it may print
    looks = iter(
        Snapshot(ExportProgress(conversations=100 * n, pages=n), limiter, "x")
        for n, limiter in zip(pages, [AT_EASE, WAITING, HELD, AT_EASE, HELD], strict=True)
    )
    console = Console(file=io.StringIO(), width=80)
    display = export_progress.make_display(Reporter(console), lambda: next(looks))
    for _ in range(7):
        display.refresh()

    assert console.file.getvalue().splitlines() == [
        "100 records",
        "400 records, waiting 23 s for the quota (300/min)",
        "600 records",
    ]


def test_progress_is_logged_while_the_target_is_written(monkeypatch):
    """While the target is sorted, compared or verified, lines show that the export is not stuck."""
    now = iter([10.0, 12.0, 16.0])
    monkeypatch.setattr(export_progress, "_now", lambda: next(now))
    finishing = msgspec.structs.replace(WRITING, published=40_100)
    console = Console(file=io.StringIO(), width=80)
    display = export_progress.make_display(
        Reporter(console), lambda: Snapshot(finishing, AT_EASE, "x.jsonl")
    )
    for _ in range(3):
        display.refresh()

    assert console.file.getvalue().splitlines() == ["finishing x.jsonl"] * 2


@pytest.mark.parametrize(
    "changes, lines",
    [
        (
            {"conversations": 1, "requests": 2, "retries": 1},
            ["x.jsonl: 1 conversation, complete", "2 requests (1 retry)"],
        ),
        # The summary has the time of all runs and no speed.
        (
            {"runs": 3, "seconds": 81.64, "conversations": 2},
            [
                "x.jsonl: 2 conversations, complete",
                "123,999 requests (542 retries)",
                "81.6 s in 3 runs",
            ],
        ),
    ],
)
def test_a_short_summary(changes, lines):
    """A count of one is in the singular, and several runs have one total duration."""
    assert summarize(make_report(**changes), None).splitlines()[: len(lines)] == lines


def test_a_summary_shows_no_control_characters():
    """Names of unknown fields and of files are printed without control characters."""
    report = make_report(unknown_fields={"a\x1b[31mred\nline": 3})
    shown = summarize(msgspec.structs.replace(report, target="x\x1b[31m.jsonl"), None)

    assert "\x1b" not in shown
    assert "unknown fields: a [31mred line (3 records)" in shown.splitlines()


@pytest.mark.parametrize(
    "carried, as_of, kept",
    [
        (0, None, ""),
        (1, MANIFEST.began, "; 1 conversation is kept, as of 2026-04-10 00:00 UTC"),
        (1839, MANIFEST.began, "; 1,839 conversations are kept, as of 2026-04-10 00:00 UTC"),
        # A database does not count old records.
        (0, MANIFEST.began, "; its earlier conversations are kept, as of 2026-04-10 00:00 UTC"),
    ],
)
def test_old_records_of_a_failed_inbox_are_reported_with_their_age(carried, as_of, kept):
    """The reason of a failed inbox is followed by the number and age of its old records."""
    part = Partition(inbox_id="i", error="403", carried=carried, as_of=as_of)

    assert [*describe_failures(msgspec.structs.replace(MANIFEST, partitions=(part,)))] == [
        f"inbox i failed: 403{kept}"
    ]


@pytest.mark.parametrize(
    "requests, earned, seconds, limit, means_something",
    [
        (60, 6.0, 1.2, 300, False),  # the README's first export: everything in the first burst
        (300, 150.0, 30.0, 300, False),  # the first burst of a minute, and half of that minute
        (300, 300.0, 60.0, 300, True),
        (305, 300.0, 61.0, 300, True),  # slightly ahead of an even pace
        (40, 45.0, 9.0, 300, False),
        (50, 50.0, 10.0, 300, True),
        (9_000, 0.0, 9.0, None, False),
        (9_000, 0.0, 11.0, None, True),  # without a pace there is no burst
    ],
)
def test_a_speed_is_reported_when_it_means_something(
    requests, earned, seconds, limit, means_something
):
    """No speed is shown for a run of a few seconds, or while the first burst dominates."""
    progress = ExportProgress(
        conversations=100 * requests, pages=requests, requests=requests, seconds=seconds,
        limit=limit, per=60.0 if limit else 0.0, earned=earned,
    )  # fmt: skip
    text = export_progress._describe(Snapshot(progress, AT_EASE, "x"))
    lines = summarize(make_report(progress, requests=requests), None).splitlines()

    assert ("/min" in text) is means_something
    assert ("%" in text) is (means_something and limit is not None)
    assert ("conversations/min" in lines[2]) is means_something
