"""Each command works with the built-in sandbox and with a server that the environment names."""

import json
import re
import signal

import pytest

from cekat_async import RateLimit, Timeout, __main__, __version__
from cekat_async.cli import ExitCode
from cekat_async.cli.client_factory import make_sandbox
from cekat_async.cli.parameter_types import OptionGroup
from cekat_async.sandbox import Fault, Quota, Sandbox


def test_an_export_of_the_sandbox(cekat, tmp_path, holds):
    """``--sandbox`` needs no key and no network. The summary fits a terminal."""
    ended = cekat("export", "out.jsonl", "--sandbox", "--sandbox-size", "50")

    assert (ended.code, ended.out) == (0, b"")
    assert holds(tmp_path / "out.jsonl", Sandbox(50))
    progress, first, second, third, fields, manifest = ended.err.splitlines()

    assert progress == "50 records"
    assert first == "out.jsonl: 50 conversations, complete"
    assert second == "2 requests"
    assert re.fullmatch(r"\d\.\d s", third)
    assert re.fullmatch(r"unknown fields: x_sla \(\d+ records?\)", fields)
    assert manifest == "manifest: out.jsonl.manifest.json"
    assert max(map(len, ended.err.splitlines())) <= 80


def test_an_export_with_filters(cekat, served, tmp_path):
    """``--inbox`` and ``--status`` select conversations."""
    with served() as sandbox:
        inbox = sandbox.inbox_ids[0]
        ended = cekat("export", "out.jsonl", "--inbox", inbox, "--status", "resolved")
        expected = sandbox.count(inbox, "resolved")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]

    assert ended.code == 0
    assert len(found) == expected > 0
    assert {(row["inbox_id"], row["stage_status"]) for row in found} == {(inbox, "resolved")}


def test_the_first_malformed_records_are_named(cekat, served):
    """An export names the first five malformed records, one per line, and counts the others."""
    odd = [b'{"id":"r%d","score":NaN}' % number for number in range(7)]
    with served(0) as sandbox:
        page = Fault.raw(body=b'{"data":[17,%s]}' % b",".join(odd))
        sandbox.fail_next(Fault.ok(), page, page)
        ended = cekat("export", "out.jsonl")
    lines = [line for line in ended.err.splitlines() if line.startswith("cekat: ")]

    assert ended.code == 0
    assert lines[0].startswith("cekat: a record without an id is malformed at $: ")
    assert [line.partition(": JSON")[0] for line in lines[1:5]] == [
        f"cekat: record r{number} is malformed at $" for number in range(4)
    ]
    assert lines[5:] == [
        "cekat: there are more malformed records: from now on they are only counted"
    ]
    assert "malformed records: 8, in tables with only their id and raw" in ended.err
    assert max(map(len, ended.err.splitlines()[-4:])) <= 80


@pytest.mark.parametrize(
    "arguments, granted, limit",
    [
        ((), 120, 120),
        (("--rate-limit", "auto"), 120, 120),
        (("--rate-limit", "150/60"), 300, 150),
        (("--share", "0.5"), 120, 60),
    ],
)
def test_the_limit_is_the_servers_or_a_lower_one(cekat, served, arguments, granted, limit):
    """The client obeys the limit that the server reports, or a lower rate, or a share of it."""
    with served(250, quota=Quota(granted)):
        ended = cekat("export", "out.jsonl", *arguments, "--log-format", "json")

    assert (ended.messages[-1]["limit"], ended.messages[-1]["per"]) == (limit, 60)


@pytest.mark.parametrize(
    "rate, quota",
    [
        (RateLimit(), Quota()),
        (None, None),
        (RateLimit(300, 3), Quota(300, per=3.0, reset_as="epoch_ms")),
    ],
)
def test_what_a_sandbox_grants(monkeypatch, rate, quota):
    """A sandbox grants the default quota or the given rate.

    For a given rate, the sandbox reports resets in milliseconds, because whole seconds are too
    coarse for a window of only a few seconds.
    """
    made = []
    monkeypatch.setattr("cekat_async.sandbox.Sandbox", lambda *_, **given: made.append(given))
    make_sandbox(rate, conversations=5)

    assert [options["quota"] for options in made] == [quota]


@pytest.mark.parametrize(
    "arguments, rate, timeout",
    [
        ((), RateLimit(), Timeout()),
        (("--rate-limit", "9/2"), RateLimit(9, 2), Timeout()),
        (("--rate-limit", "900"), RateLimit(900, 60), Timeout()),
        (("--rate-limit", "off"), None, Timeout()),
        (("--share", "0.5"), RateLimit(share=0.5), Timeout()),
        (("--share", "0.25", "--rate-limit", "9/2"), RateLimit(9, 2, share=0.25), Timeout()),
        (("--wait",), RateLimit(longest_hold=None), Timeout(request=None)),
        (
            ("--rate-limit", "9/2", "--wait"),
            RateLimit(9, 2, longest_hold=None),
            Timeout(request=None),
        ),
    ],
)
@pytest.mark.parametrize("command", [("export", "x.jsonl"), ("conversations",), ("inboxes",)])
@pytest.mark.parametrize("sandbox", [("--sandbox", "--sandbox-size", "5"), ()])
def test_how_long_a_command_waits(
    cekat, clients, served, command, sandbox, arguments, rate, timeout
):
    """``--rate-limit`` and ``--share`` set the request rate.

    ``--wait`` removes the limits on waiting times.
    """
    with served(5):
        assert cekat(*command, *arguments, *sandbox, "--attempts", "3").code == 0
    ((_, options),) = clients

    assert (options["rate_limit"], options["timeout"]) == (rate, timeout)
    assert options["retry"].attempts == 3


@pytest.mark.parametrize("maximum", [None, 1, 7, 100, 101, 250, 9999])
def test_conversations_in_a_pipe_are_json_lines(cekat, served, maximum):
    """In a pipe, ``conversations`` writes the server's records unchanged, one per line.

    ``-n`` ends the listing after that number of records, and no further page is requested.
    """
    with served(250) as sandbox:
        ended = cekat("conversations", *(["-n", str(maximum)] if maximum else []))

        lines = [record + b"\n" for _, record in sandbox.records()]
        assert ended.out == b"".join(lines[:maximum])
        assert len(sandbox.log.requests) == min(3, -(-(maximum or 250) // 100))
    assert (ended.code, ended.err) == (0, "")


def test_malformed_records_in_a_pipe_are_written_too(cekat, served):
    """In a pipe, malformed records are written unchanged, like all others."""
    with served() as sandbox:
        sandbox.fail_next(Fault.raw(body=b'{"data":[{"id":"a"},17,{"id":\n[]}]}'))
        ended = cekat("conversations")

    assert ended.out == b'{"id":"a"}\n17\n{"id":[]}\n'
    assert (ended.code, ended.err) == (0, "")


def test_inboxes_in_a_pipe_are_json_lines(cekat, served):
    """In a pipe, ``inboxes`` writes the server's records unchanged, one per line."""
    with served(inboxes=130) as sandbox:
        ended = cekat("inboxes")

        assert ended.out == b"".join(record + b"\n" for _, record in sandbox.inbox_records())
    assert (ended.code, ended.err) == (0, "")


def test_a_repeated_inbox_is_written_once(cekat, served):
    """If an inbox moves to a later page, it is not written twice."""
    first, second = b'{"data":[{"id":"a"},{"id":"b"}]}', b'{"data":[{"id":"b"},{"id":"c"}]}'
    with served() as sandbox:
        sandbox.fail_next(*map(Fault.raw, [200] * 3, [first, second, second]))
        ended = cekat("inboxes")

    assert ended.out == b'{"id":"a"}\n{"id":"b"}\n{"id":"c"}\n'


def test_a_base_url_overrides_the_environment(cekat, served, monkeypatch):
    """``--base-url`` overrides ``CEKAT_BASE_URL``."""
    with served(5) as sandbox:
        monkeypatch.setenv("CEKAT_BASE_URL", "http://127.0.0.1:9")

        assert cekat("conversations", "--base-url", sandbox.base_url).code == 0


@pytest.mark.parametrize("arguments", [("-v", "conversations"), ("conversations", "-v")])
def test_verbose_logs_each_request(cekat, served, arguments):
    """``-v``, before or after the command's name, logs each request on standard error."""
    with served(250):
        ended = cekat(*arguments)

        silent = cekat("conversations")

    assert ended.err.count("cekat: /api/conversations answered 200") == 3
    assert ended.out.count(b"\n") == 250
    assert silent.err == ""


def test_verbose_logs_the_limit(cekat, served):
    """``-v`` logs each change of the limit that the server reports."""
    with served(5, quota=Quota(120)):
        ended = cekat("-v", "conversations")

    assert "cekat: the limit is now 120 in 60 s (stated), it was 300 in 60 s" in ended.err


def test_retries_are_reported(cekat, served):
    """A retry is reported in one line, and the command continues."""
    with served(5) as sandbox:
        sandbox.fail_next(Fault.status(503))
        ended = cekat("conversations")

    assert ended.code == 0
    assert ended.err.startswith("cekat: attempt 1 failed, next in ")
    assert len(ended.err.splitlines()) == 1
    assert ended.out.count(b"\n") == 5


def test_version(cekat):
    """``--version`` prints name and version."""
    assert cekat("--version").out == f"cekat {__version__}\n".encode()


COMMANDS = ["export", "conversations", "inboxes", "doctor", "sandbox"]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_grouped(cekat, command):
    """Options are grouped under headings, which have the same order in all commands.

    The last heading is ``Help``.
    """
    text = cekat(command, "--help").out.decode()
    headings = re.findall(r"^([A-Z].*):$", text, re.MULTILINE)

    assert headings == [group for group in OptionGroup if group in headings]
    assert headings[-1] == "Help"
    assert re.search(r"^Help:\n  --help +Show this message and exit.\n", text, re.MULTILINE)
    # The texts of all groups start in one column, which depends on the longest name.
    starts = {len(line) - len(line[2:].partition("  ")[2].lstrip()) for line in text.splitlines()
              if line.startswith("  -")}  # fmt: skip
    assert len(starts) == 1


def test_the_groups_of_an_export(cekat):
    """The options of an export are grouped by topic."""
    _, *groups = re.split(
        r"^(\w[\w ]*):\n", cekat("export", "--help").out.decode(), flags=re.MULTILINE
    )
    options = {
        heading: set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))
        for heading, text in zip(groups[::2], groups[1::2], strict=True)
    }

    assert options["What to export"] >= {"--inbox", "--by-inbox", "--status", "--incremental"}
    assert options["How to write"] >= {"--replace", "--allow-empty", "--table"}
    assert options["Resuming"] == {"--restart", "--checkpoint"}
    assert options["Connection"] >= {"--base-url", "--rate-limit", "--concurrency", "--attempts"}
    assert options["Logging"] >= {"--log-format", "--verbose"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal_and_explains_all(cekat, command):
    """Every ``--help`` text fits 80 columns and describes every option."""
    ended = cekat(*command.split(), "--help")
    lines = ended.out.decode().splitlines()
    options = [line for line in lines if line.startswith("  -")]

    assert ended.code == 0
    assert max(map(len, lines)) <= 80
    assert "[default: auto]" in ended.out.decode() or not command
    assert options
    for option in options:
        # Two spaces separate an option from its text. "[default: …]" alone explains
        # nothing.
        _, text = option.strip().split("  ", maxsplit=1)
        assert text.strip()[0].isupper()


def test_without_a_command_there_is_help(cekat):
    """``cekat`` alone prints its help on standard error and fails with the code for wrong usage."""
    ended = cekat()

    assert ended.code == ExitCode.USAGE
    assert ended.out == b""
    assert ended.err.startswith("Usage: cekat [OPTIONS] COMMAND")
    assert "Export all conversations to a file or a database." in ended.err


def test_the_entry_point_runs_the_command_line(monkeypatch, capsys):
    """``cekat`` and ``python -m cekat_async`` run the same function, which returns the exit
    code.

    Afterwards the calling program has its own handler of SIGTERM again.
    """
    monkeypatch.setattr("sys.argv", ["cekat", "inboxes", "--sandbox", "--sandbox-size", "0"])
    previous = signal.getsignal(signal.SIGTERM)

    assert __main__.main() == 0
    assert signal.getsignal(signal.SIGTERM) == previous
    assert capsys.readouterr().out.count("\n") == 8
