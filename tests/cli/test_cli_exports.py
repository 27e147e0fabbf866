"""Resumed, partial, incremental and refused exports, and the log for a scheduler."""

import json
import re
import sqlite3
import sys

import pytest

from cekat_async.cli import ExitCode
from cekat_async.sandbox import Fault, Quota, Sandbox

FAST = ("--rate-limit", "off")
SIZE = ("--sandbox", "--sandbox-size", "250")


def test_a_used_up_day_and_the_next(cekat, served, tmp_path, holds):
    """If the daily quota is used up, the next run resumes, and the target is complete."""
    with served(900, quota=Quota(per_day=4, headers=None)) as sandbox:
        stopped = cekat("export", "x.jsonl", *FAST, "--log-format", "json", "--account", "Acme")
        kept = stopped.messages[-1]
    with served(900) as sandbox:
        ended = cekat("export", "x.jsonl", *FAST, "--log-format", "json", "--account", "Acme")
        assert holds(tmp_path / "x.jsonl", sandbox)
    error = stopped.messages[-2]

    assert stopped.code == ExitCode.QUOTA_SPENT
    assert error["event"] == "error"
    assert error["error"] == "RateLimitError"
    assert error["exit_code"] == 6
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", error["resumes_at"])
    assert kept["event"] == "unfinished"
    assert kept["checkpoint"] == "x.jsonl.checkpoint"
    assert kept["conversations"] >= 100
    assert ended.code == ExitCode.DONE
    assert ended.messages[-1]["manifest"]["runs"] == 2
    assert ended.messages[0]["resumed"] == kept["conversations"]


def test_one_inbox_that_fails_for_good(cekat, served, tmp_path):
    """After a 403 on one inbox, the other is exported, and the exit code means partial success."""
    with served(250) as sandbox:
        sandbox.fail_next(Fault.ok(), Fault.status(403))
        inboxes = sandbox.inbox_ids[:2]
        typed = [word for inbox in inboxes for word in ("--inbox", inbox)]
        ended = cekat("export", "x.jsonl", *typed, "--concurrency", "1")
        expected = sandbox.count(inboxes[1])
    manifest = json.loads((tmp_path / "x.jsonl.manifest.json").read_bytes())

    assert ended.code == ExitCode.PARTIAL == 10
    assert f"x.jsonl: {expected} conversations, partial\n" in ended.err
    assert ended.err.splitlines()[-1].startswith(f"cekat: inbox {inboxes[0]} failed: ")
    assert "HTTP 403" in ended.err.splitlines()[-1]
    assert (tmp_path / "x.jsonl").read_bytes().count(b"\n") == expected
    failed = [one["inbox_id"] for one in manifest["partitions"] if one["error"]]
    assert failed == [inboxes[0]]
    assert manifest["complete"] is False


def test_inboxes_that_all_fail_replace_nothing(cekat, served, tmp_path):
    """If every inbox is refused, the target is unchanged."""
    (tmp_path / "x.jsonl").write_text("old\n")
    with served(250) as sandbox:
        sandbox.fail_next(*[Fault.status(403)] * 4)
        typed = [word for inbox in sandbox.inbox_ids[:2] for word in ("--inbox", inbox)]
        ended = cekat("export", "x.jsonl", *typed, "--concurrency", "1")

    assert ended.code == ExitCode.KEY_REFUSED
    assert ended.complaint.startswith("cekat: 2 inboxes failed, ")
    assert (tmp_path / "x.jsonl").read_text() == "old\n"


def test_inboxes_that_fail_temporarily(cekat, served, tmp_path):
    """A temporary failure leaves the export unfinished, and the same command resumes it."""
    with served(250) as sandbox:
        typed = [word for inbox in sandbox.inbox_ids[:2] for word in ("--inbox", inbox)]
        typed += ["--concurrency", "1", "--attempts", "1"]
        sandbox.fail_next(Fault.ok(), Fault.drop())
        stopped = cekat("export", "x.jsonl", *typed)
        ended = cekat("export", "x.jsonl", *typed)
    reason, left = stopped.err.splitlines()[-2:]

    assert stopped.code == ExitCode.NOT_REACHED
    assert reason.endswith(": to resume, run the same command again")
    assert left.endswith(" are in x.jsonl.checkpoint. To resume, run the same command again")
    assert ended.code == ExitCode.DONE


def test_an_incremental_export(cekat, served, tmp_path):
    """``--incremental`` exports only the changes, and the summary says so.

    ``--full`` exports everything.
    """
    with served(600) as sandbox:
        cekat("export", "x.jsonl", *FAST)
        moved = sandbox.create()
        added = cekat("export", "x.jsonl", *FAST, "--incremental")
        held = (tmp_path / "x.jsonl").read_bytes()
        whole = cekat("export", "x.jsonl", *FAST, "--incremental", "--full")

    assert added.code == 0
    assert "x.jsonl: 601 conversations, complete\n" in added.err
    assert re.search(r"\nincremental: [\d,]+ conversations fetched\n", added.err)
    assert str(moved).encode() in held
    assert "incremental: " not in whole.err


def test_an_export_of_each_inbox(cekat, tmp_path, holds):
    """``--by-inbox`` walks each inbox and reports the number of its conversations."""
    ended = cekat("export", "x.jsonl", *SIZE, "--by-inbox")

    assert ended.code == 0
    assert len(re.findall(r"^inbox \S+: \d+ records? fetched$", ended.err, re.MULTILINE)) == 8
    assert holds(tmp_path / "x.jsonl", Sandbox(250))


def test_a_table_of_ones_own(cekat, tmp_path):
    """``--table`` names the table, and the summary says where the manifest is."""
    ended = cekat("export", "x.sqlite", *SIZE, "--table", "talks")
    with sqlite3.connect(tmp_path / "x.sqlite") as database:
        found = database.execute("SELECT count(*) FROM talks").fetchone()
    database.close()

    assert ended.code == 0
    assert found == (250,)
    assert ended.err.splitlines()[-1] == "manifest: in the table cekat_exports"


@pytest.mark.parametrize("typed, cell", [((), b"'=1+1"), (("--keep-formulas",), b"=1+1")])
def test_formulas_are_defused_unless_they_are_to_be_kept(cekat, served, tmp_path, typed, cell):
    """A formula becomes text, except with ``--keep-formulas``."""
    with served(0) as sandbox:
        record = b'{"data":[{"id":"a","contact_name":"=1+1"}]}'
        sandbox.fail_next(Fault.ok(), *[Fault.raw(body=record)] * 2)
        assert cekat("export", "x.csv", *typed).code == 0

    assert b"," + cell + b"," in (tmp_path / "x.csv").read_bytes()


def test_an_unfinished_export_is_resumed_under_a_new_key(cekat, served):
    """The same command resumes an unfinished export with the account's new key.

    ``--account`` does not mix accounts.
    """
    day = Quota(per_day=4, headers=None)
    for seed, code in ((1, ExitCode.DONE), (2, ExitCode.CHECKPOINT_REFUSED)):
        with served(900, quota=day):
            cekat("export", "x.jsonl", *FAST, "--account", "Acme")
        with served(900, seed=seed, api_key="a-new-key"):
            ended = cekat("export", "x.jsonl", *FAST, "--account", "Acme")

        assert ended.code == code
    assert "belongs to another account (Acme; this is Acme; the keys differ, and " in ended.err
    assert ended.complaint.endswith("or start over with --restart")


@pytest.fixture
def unfinished(cekat, served, tmp_path):
    """The checkpoint of an export that stopped when the daily quota was used up."""
    with served(900, quota=Quota(per_day=4, headers=None)):
        cekat("export", "x.jsonl", *FAST, "--account", "a")
    return tmp_path / "x.jsonl.checkpoint"


def set_format(path):
    """Change a checkpoint to the format of a newer version."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize(
    "change, typed, seed, says",
    [
        (lambda path: path.write_bytes(b"no database" * 1000), (), 1, "is broken ("),
        (set_format, (), 1, "is of another version of cekat_async (format 99, "),
        (None, (), 2, "belongs to another account (a; this is b; the hosts differ, and "),
        (None, ("--status", "open"), 1, "belongs to an export with other filters"),
    ],
)
def test_a_checkpoint_that_is_refused(
    cekat, served, unfinished, tmp_path, holds, change, typed, seed, says
):
    """A broken or foreign checkpoint is refused and kept. ``--restart`` starts over."""
    if change:
        change(unfinished)
    before = unfinished.read_bytes()
    with served(900, seed=seed) as sandbox:
        refused = cekat("export", "x.jsonl", *FAST, "--account", "b", *typed)
        assert unfinished.read_bytes() == before
        ended = cekat("export", "x.jsonl", *FAST, "--account", "b", "--restart")

        assert holds(tmp_path / "x.jsonl", sandbox)
    assert refused.code == ExitCode.CHECKPOINT_REFUSED == 9
    assert says in refused.complaint
    assert refused.complaint.endswith("start over with --restart")
    assert ended.code == ExitCode.DONE


def test_a_folder_that_was_moved(cekat, served, unfinished, tmp_path, monkeypatch):
    """An export resumes after its folder was moved, and from any working directory."""
    moved = tmp_path / "moved"
    moved.mkdir()
    unfinished.rename(moved / unfinished.name)
    with served(900):
        ended = cekat("export", str(moved / "x.jsonl"), *FAST, "--account", "a")

    assert ended.code == ExitCode.DONE
    assert " in 2 runs\n" in ended.err


@pytest.mark.parametrize(
    "url, code",
    [
        ("postgresql://u:geheim@127.0.0.1:9/d", ExitCode.TARGET_FAILED),
        ("postgresql://u:ge/heim@127.0.0.1/d", ExitCode.USAGE),
        ("postgresql://u:geheim@h:port/d", ExitCode.USAGE),
    ],
)
def test_a_database_that_is_not_there(cekat, url, code):
    """A wrong URL or an unreachable database is reported in one line without the password."""
    pytest.importorskip("psycopg")
    ended = cekat("export", url, *SIZE)

    assert ended.code == code
    assert len(ended.err.splitlines()) == 1
    assert "heim" not in ended.err


@pytest.mark.parametrize(
    "target, module, extra",
    [
        ("x.parquet", "pyarrow", "parquet"),
        ("x.jsonl.zst", "zstandard", "zstd"),
        ("x.duckdb", "duckdb", "duckdb"),
        ("postgresql://h/d", "psycopg", "postgres"),
    ],
)
def test_a_target_whose_extra_is_missing(cekat, monkeypatch, target, module, extra):
    """If the target's extra is missing, the error has its install command."""
    monkeypatch.setitem(sys.modules, module, None)
    ended = cekat("export", target, *SIZE)

    assert ended.code == ExitCode.MISSING_EXTRA == 8
    assert ended.complaint.endswith(f"pip install 'cekat-async[{extra}]'")
    assert len(ended.err.splitlines()) == 1


def test_progress_counts_up_to_the_last_total(cekat, served):
    """With an earlier manifest, progress shows the expected total and the remaining time."""
    with served(1200):
        cekat("export", "x.jsonl", *FAST)
        again = cekat("export", "x.jsonl", *FAST, "--log-format", "json")
    first = again.messages[0]

    assert first["event"] == "progress"
    assert first["expected"] == 1200
    assert re.match(r"[\d,]+ of about 1,200 records(,|$)", first["message"])
    assert first["seconds_left"] >= 0


def test_a_log_in_json(cekat, served):
    """With ``--log-format json``, every line is an object with time, level, event and message."""
    with served(150) as sandbox:
        sandbox.fail_next(Fault.ok(), Fault.status(503))
        ended = cekat("export", "x.jsonl", "--log-format", "json", "-v")
    events = {one["event"] for one in ended.messages}
    summary = ended.messages[-1]
    progress = next(one for one in ended.messages if one["event"] == "progress")

    assert ended.code == 0
    assert all([*one][:4] == ["time", "level", "event", "message"] for one in ended.messages)
    assert {"log", "progress", "summary"} <= events
    assert summary["conversations"] == summary["manifest"]["conversations"] == 150
    assert summary["quota_share"] == 1.0
    assert summary["per_minute"] > 0
    assert summary["manifest"].keys() >= {"fetched", "repeats", "pages", "requests"}
    assert summary["message"].startswith("x.jsonl: 150 conversations, complete\n")
    assert {"per_minute", "quota_share", "waiting", "waiting_for", "retries"} <= set(progress)


@pytest.mark.parametrize(
    "arguments, error, code",
    [
        (("export", "x.xlsx"), "ConfigurationError", 2),
        (("inboxes", "--wait", "--rate-limit", "off"), "UsageError", 2),
        (("inboxes", "--attempts", "0"), "BadParameter", 2),
        (("export", "no/x.jsonl", "--sandbox"), "TargetError", 7),
        (("inboxes",), "ConfigurationError", 2),
    ],
)
def test_a_failure_in_json(cekat, arguments, error, code):
    """A failure is one JSON object with the error's class and the exit code."""
    ended = cekat(*arguments, "--log-format", "json")
    (only,) = ended.messages

    assert ended.code == only["exit_code"] == code
    assert (only["event"], only["level"], only["error"]) == ("error", "error", error)


@pytest.mark.once
def test_a_pause_is_shown_in_json(cekat, served, monkeypatch):
    """During a pause, the JSON log says repeatedly what the export is waiting for."""
    monkeypatch.setattr("cekat_async.cli.commands.export_progress._SECONDS_BETWEEN_LINES", 0.5)
    with served(150) as sandbox:
        pause = Fault.status(429, headers={"Retry-After": "3"})
        sandbox.fail_next(*[Fault.ok()] * 3, pause)
        ended = cekat("export", "x.jsonl", "--log-format", "json", "--concurrency", "1")
    held = [one for one in ended.messages if one.get("waiting")]

    assert len(held) >= 2
    assert held[0]["waiting_for"] == "the server asks for a pause"
    assert held[0]["waiting"] > held[-1]["waiting"]


def test_the_connections_are_as_many_as_the_requests(cekat, clients):
    """``--concurrency`` also sets the concurrency of the client. The default is 4."""
    cekat("export", "x.jsonl", *SIZE)
    cekat("export", "x.jsonl", *SIZE, "--concurrency", "32")

    assert [options["concurrency"] for _, options in clients] == [4, 32]


def test_standard_output_is_not_resumed_without_a_checkpoint(cekat, served):
    """A stopped export to standard output starts over, unless it has a checkpoint."""
    for typed, code in (((), "begins anew"), (("--checkpoint", "kept"), "goes on")):
        with served(900, quota=Quota(per_day=4, headers=None)):
            stopped = cekat("export", "-", *FAST, "--account", "a", *typed)
        with served(900):
            ended = cekat("export", "-", *FAST, "--account", "a", *typed)

        assert stopped.code == ExitCode.QUOTA_SPENT
        assert stopped.out == b""
        assert ended.out.count(b"\n") == 900
        assert (" in 2 runs\n" in ended.err) == (code == "goes on")


# Permission to replace a target


def test_a_filter_that_was_mistyped_does_not_empty_the_target(cekat, served, tmp_path):
    """If the filters differ from the target's, the command exits with 11 and says what to type."""
    with served(250) as sandbox:
        cekat("export", "x.jsonl", *FAST)
        before = (tmp_path / "x.jsonl").read_bytes()
        for typed in (("--status", "resolvd"), ("--inbox", "typo"), ("--by-inbox",)):
            ended = cekat("export", "x.jsonl", *FAST, *typed)

            assert ended.code == ExitCode.REPLACEMENT_REFUSED == 11
            assert ended.complaint.endswith(": choose another target, or pass --replace")
            assert len(ended.err.splitlines()) == 1
            assert (tmp_path / "x.jsonl").read_bytes() == before
        ended = cekat("export", "x.jsonl", *FAST, "--status", "resolved", "--replace")

        assert ended.code == ExitCode.DONE
        assert (tmp_path / "x.jsonl").read_bytes().count(b"\n") == sandbox.count(
            stage_status="resolved"
        )


def test_an_empty_result_does_not_replace_conversations(cekat, served, tmp_path):
    """An empty result makes the command exit with 11, unless ``--allow-empty`` is given or set."""
    with served(30) as sandbox:
        cekat("export", "x.jsonl", *FAST)
        for id_, _ in list(sandbox.records()):
            sandbox.delete(id_)
        refused = cekat("export", "x.jsonl", *FAST, "--log-format", "json")
        (tmp_path / "cekat.toml").write_text("allow_empty = true")
        strict = cekat("export", "x.jsonl", *FAST, "--no-allow-empty")
        allowed = cekat("export", "x.jsonl", *FAST)

    assert refused.code == strict.code == ExitCode.REPLACEMENT_REFUSED
    error = refused.messages[-1]
    assert (error["error"], error["option"]) == ("ReplacementRefusedError", "--allow-empty")
    assert error["message"].endswith(": if that is right, pass --allow-empty")
    assert allowed.code == ExitCode.DONE
    assert (tmp_path / "x.jsonl").read_bytes() == b""


def test_an_inbox_that_fails_and_nothing_to_keep_of_it(cekat, served, tmp_path):
    """If old records cannot be kept, the command says so, and says where the new records are."""
    with served(250, inboxes=4) as sandbox:
        cekat("export", "x.jsonl", *FAST, "--by-inbox")
        with (tmp_path / "x.jsonl").open("ab") as file:
            file.write(b"{}\n")
        sandbox.forbid(closed := sandbox.inbox_ids[1])
        refused = cekat("export", "x.jsonl", *FAST, "--by-inbox")
        ended = cekat("export", "x.jsonl", *FAST, "--by-inbox", "--replace")
        fetched = 250 - sandbox.count(closed)
    *_, reason, left = refused.err.splitlines()

    assert refused.code == ExitCode.REPLACEMENT_REFUSED
    assert reason.startswith(f"cekat: 1 inbox failed (the first is {closed}: ")
    assert reason.endswith("or pass --replace to replace the target without them")
    assert left == (
        f"cekat: nothing was written, but nothing is lost: {fetched} conversations are in "
        "x.jsonl.checkpoint"
    )
    assert ended.code == ExitCode.PARTIAL
    assert (tmp_path / "x.jsonl").read_bytes().count(b"\n") == fetched


@pytest.mark.parametrize("target", ["-", "x.sqlite", "x.duckdb", "postgresql://h/d"])
@pytest.mark.parametrize("option", ["--replace", "--allow-empty"])
def test_options_for_replacing_need_a_target_that_is_replaced(cekat, target, option):
    """``--replace`` and ``--allow-empty`` are refused for a database or standard output."""
    ended = cekat("export", target, *SIZE, option)

    assert ended.code == ExitCode.USAGE
    assert ended.complaint == (
        f"cekat: {option} is only for files and folders: leave it out. See 'cekat export --help'."
    )


def test_a_nightly_setting_is_ignored_where_it_has_no_use(cekat, tmp_path):
    """A setting that does not apply to a target is ignored."""
    (tmp_path / "cekat.toml").write_text("allow_empty = true\nwait = true\nshare = 0.5")

    assert cekat("export", "x.sqlite", *SIZE, "--rate-limit", "off").code == ExitCode.DONE


def test_a_sandbox_is_the_same_the_day_after(cekat, tmp_path, holds):
    """A sandbox's port does not identify the account, so the same command works every night."""
    for typed in ((), (), ("--incremental",)):
        ended = cekat("export", "x.jsonl", *SIZE, *typed)

        assert ended.code == ExitCode.DONE
        assert holds(tmp_path / "x.jsonl", Sandbox(250))


def test_sandbox_data_does_not_replace_a_real_export(cekat, served, tmp_path):
    """Sandbox data does not replace an account's export, even if neither account is named."""
    with served(250, seed=7):
        cekat("export", "x.jsonl", *FAST)
    before = (tmp_path / "x.jsonl").read_bytes()
    ended = cekat("export", "x.jsonl", *SIZE)

    assert ended.code == ExitCode.REPLACEMENT_REFUSED
    assert "x.jsonl holds an export of another account (" in ended.complaint
    assert (tmp_path / "x.jsonl").read_bytes() == before


@pytest.mark.parametrize("command", [("export", "x.jsonl"), ("conversations",)])
def test_an_unknown_status_is_reported_once(cekat, command):
    """An unknown status is reported in one line with the nearest known one."""
    ended = cekat(*command, *SIZE, "--status", "Resolvd")

    assert ended.code == ExitCode.DONE
    warned = [line for line in ended.err.splitlines() if "unknown status" in line]
    assert warned == ["cekat: unknown status 'Resolvd': did you mean 'resolved'?"]


# The meaning of the numbers


def test_what_is_left_counts_each_conversation_once(cekat, served):
    """Conversations that were fetched again do not increase the number of stored conversations."""
    typed = ("export", "x.jsonl", *FAST, "--concurrency", "1", "--log-format")
    with served(900) as sandbox:
        # The first run requests the business, a probe and nine pages. The second run, with the
        # same key, requests the changes since then.
        for passes in (11, 4):
            sandbox.fail_next(*[Fault.ok()] * passes, *[Fault.status(401)] * 9)
            ended = cekat(*typed, "json")
            sandbox._handler.script.clear()
            for id_, _ in list(sandbox.records())[300:600]:
                sandbox.touch(id_)
        left = ended.messages[-1]
        sandbox.fail_next(Fault.status(401))
        last = cekat(*typed, "text").err.splitlines()[-1]

    assert left["event"] == "unfinished"
    assert left["records"] > left["conversations"] == 900
    assert left["message"].startswith("not finished: 900 conversations are in ")
    assert last.startswith("cekat: not finished: 900 conversations are in ")


def test_verbose_says_where_the_requests_went(cekat):
    """``-v`` logs the numbers of pages, records and repeated records."""
    ended = cekat("export", "x.jsonl", *SIZE, "-v")

    assert re.search(
        r"\ncekat: fetched \d+ pages with \d+ records, \d+ of them repeated, in \d+ requests\n",
        ended.err,
    )
