"""Failures: an exit code for a scheduler, and one line for a person."""

import re
import shlex
from datetime import UTC, datetime, timedelta

import pytest

from cekat_async import errors
from cekat_async.cli import ExitCode, exit_codes
from cekat_async.cli.exit_codes import format_error, get_exit_code
from cekat_async.sandbox import Dialect, Fault, Quota

KEPT = "are in x.jsonl.checkpoint. To resume, run the same command again"
KEY = "sk-0f3d-very-distinctive-9c71"


@pytest.mark.parametrize(
    "status, code, says",
    [
        (401, ExitCode.KEY_REFUSED, "check the key in CEKAT_API_KEY"),
        (403, ExitCode.KEY_REFUSED, "use a key that may read this"),
        (404, ExitCode.API_FAILED, "check the base URL"),
    ],
)
@pytest.mark.parametrize("body", ["json", "html", "empty"])
@pytest.mark.parametrize("command", [("export", "x.jsonl"), ("conversations",), ("inboxes",)])
def test_what_to_do_about_a_refusal(cekat, served, tmp_path, command, status, code, says, body):
    """If the server refuses a request, the command ends without a retry and says what to do."""
    with served() as sandbox:
        # An export asks for the account's business first, and works even without a reply.
        requests = 1 + (command[0] == "export")
        sandbox.fail_next(*[Fault.status(status, body=body)] * requests)
        ended = cekat(*command)

        assert len(sandbox.log.requests) == requests
    assert list(tmp_path.iterdir()) == []
    assert len(ended.err.splitlines()) == 1
    assert ended.code == code
    assert ended.complaint.endswith(f"): {says}")
    assert f"HTTP {status}" in ended.complaint
    assert ended.complaint.count(says) == ended.complaint.count("check") + (status == 403) == 1
    assert "api_key=" not in ended.complaint
    assert "base_url=" not in ended.complaint


@pytest.mark.parametrize("endless", ["empty", "repeat", "cycle"])
@pytest.mark.parametrize(
    "command", [("export", "x.jsonl"), ("conversations", "-n", "100000"), ("inboxes",)]
)
def test_a_server_whose_listings_never_end(cekat, served, command, endless):
    """An endless listing is reported in one line as a failure of the server."""
    with served(250, dialect=Dialect(endless=endless)) as sandbox:
        ended = cekat(*command, "--rate-limit", "off")

        assert len(sandbox.log.requests) <= 70
    lines = [line for line in ended.err.splitlines() if "never end" in line]

    assert ended.code == ExitCode.API_FAILED == 5
    assert len(lines) == 1
    assert lines[0].startswith("cekat: the server ")
    assert "Report this to the API's support (/api/" in lines[0]
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "host, advice",
    [
        ("http://127.0.0.1:9", ": check the network and the base URL"),
        ("https://nowhere.invalid", "whether this machine has a network (/api/conversations)"),
    ],
)
def test_a_host_that_is_not_there(cekat, monkeypatch, host, advice):
    """An unreachable host is named."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    ended = cekat("conversations", "--base-url", host, "--attempts", "1")

    assert ended.code == ExitCode.NOT_REACHED == 4
    assert ended.complaint.startswith(f"cekat: cannot reach {host}: ")
    assert ended.complaint.endswith(advice)
    assert len(ended.err.splitlines()) == 1


def test_a_server_that_fails_for_good(cekat, served, tmp_path):
    """After ``--attempts`` attempts, a 503 is a failure of the server.

    All attempts except the last one are reported.
    """
    with served() as sandbox:
        sandbox.fail_next(*[Fault.status(503, body="html")] * 9)
        ended = cekat("export", "x.jsonl", "--attempts", "2")

        # An export asks for the account's business first, and works even without a reply.
        assert len(sandbox.log.requests) == 2 * 2
    assert ended.code == ExitCode.API_FAILED == 5
    assert ended.complaint.endswith(": try again later")
    assert "HTTP 503" in ended.complaint
    assert "2 attempts" in ended.complaint
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_fails_in_the_middle(cekat, served, tmp_path):
    """The report of a failed export has the number of stored conversations and the file's name."""
    with served() as sandbox:
        sandbox.fail_next(*[Fault.ok()] * 3, Fault.status(500))
        ended = cekat("export", "x.jsonl", "--attempts", "1", "--concurrency", "1")
    *_, reason, rest = ended.err.splitlines()

    assert ended.code == ExitCode.API_FAILED
    assert "HTTP 500" in reason
    assert rest == f"cekat: not finished: 100 conversations {KEPT}"
    assert not (tmp_path / "x.jsonl").exists()


def test_a_used_up_quota(cekat, served):
    """If a pause is too long to wait for, the command ends and reports the pause's length."""
    with served() as sandbox:
        sandbox.fail_next(Fault.status(429, headers={"Retry-After": "3600"}))
        ended = cekat("conversations")

    assert ended.code == ExitCode.QUOTA_SPENT == 6
    assert "3600 s" in ended.complaint
    assert re.search(COME_BACK + r"\(in 1 h\), or pass --wait$", ended.complaint)


COME_BACK = r": try again at \d{4}-\d\d-\d\d \d\d:\d\d UTC "


def test_a_used_up_day(cekat, served, tmp_path):
    """If the daily quota is used up, an export ends and says when it resets and what is stored."""
    with served(1000, quota=Quota(per_day=4, headers=None)) as sandbox:
        ended = cekat("export", "x.jsonl", "--concurrency", "1")

        assert len(sandbox.log.requests) == 5
    *_, reason, rest = ended.err.splitlines()

    assert ended.code == ExitCode.QUOTA_SPENT
    assert re.search(COME_BACK + r"\(in (24 h|23 h 59 min)\), or pass --wait$", reason)
    assert "RateLimit." not in reason  # the term in Python
    assert rest == f"cekat: not finished: 200 conversations {KEPT}"
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    "resumes_in, retry_after, says",
    [
        (29_492, None, "try again at 2026-11-26 00:00 UTC (in 8 h 12 min), or pass --wait"),
        (29_493, None, "try again at 2026-11-26 00:01 UTC (in 8 h 12 min), or pass --wait"),
        (23.2, None, "try again at 2026-11-25 15:49 UTC (in 24 s), or pass --wait"),
        (-5, None, "try again at 2026-11-25 15:49 UTC (in 0 s), or pass --wait"),
        # If ``resumes_in`` is None, the time comes from the server's ``Retry-After``.
        (None, None, "try again later, or send fewer requests with --rate-limit"),
        (None, 90.0, "try again at 2026-11-25 15:50 UTC (in 2 min), or send fewer requests "),
    ],
)
def test_the_time_to_retry_is_not_too_early(monkeypatch, resumes_in, retry_after, says):
    """A retry at the reported minute is not too early."""
    now = datetime(2026, 11, 25, 15, 48, 28, tzinfo=UTC)
    monkeypatch.setattr(exit_codes, "_now", lambda: now)
    error = errors.RateLimitError("spent")
    error.retry_after = retry_after
    if resumes_in is not None:
        error.resumes_at = now + timedelta(seconds=resumes_in)

    assert format_error(error).partition(": ")[2].startswith(says)


@pytest.mark.parametrize("where", ["nofolder/x.jsonl", "taken.jsonl"])
def test_a_target_that_cannot_be_written(cekat, served, tmp_path, where):
    """A target that is not writable is reported before any request."""
    (tmp_path / "taken.jsonl").mkdir()
    with served() as sandbox:
        ended = cekat("export", where)

        assert sandbox.log.requests == []
    assert ended.code == ExitCode.TARGET_FAILED == 7
    assert ended.err.startswith(f"cekat: cannot write {where}")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    "line, says",
    [
        ("export", "Missing argument 'TARGET'"),
        ("export x.xlsx --sandbox", "cannot export to 'x.xlsx': use one of .jsonl, "),
        ('export "" --sandbox', "cannot export to '': use one of .jsonl, "),
        ("export mysql://me:secret@h/d", "cannot export to 'mysql://…': use one of "),
        ("export x.csv --table t", "--table is only for .sqlite, .duckdb and postgresql://…: "),
        ("export x.jsonl --keep-formulas", "--keep-formulas is only for .csv: leave it out"),
        ("export - --table t", "--table is only for .sqlite, "),
        ("export - --incremental", "--incremental cannot be used with -. Use --full."),
        ("export - --restart", "--restart with - needs --checkpoint."),
        ("export x.jsonl --by-inbox --inbox a", "--by-inbox reads all inboxes: leave"),
        ('export x.jsonl --inbox ""', "Invalid value for '--inbox': it is empty."),
        ("export x.jsonl --concurrency 0", "0 is not in the range"),
        ('export x.sqlite --sandbox --table " "', "for '--table': it is empty."),
        ("inboxes --sandbox --api-key-file k", "--api-key-file has no effect with"),
        ("inboxes --log-format xml", "'xml' is not one of 'text', 'json'"),
        ("exprot", "No such command 'exprot'"),
        ("export x.jsonl --sandbx", "No such option"),
        ("conversations -n 0", "0 is not in the range"),
        ("conversations --rate-limit many", "write it like 300/60, or auto, or off (not 'm"),
        ("export x.jsonl --rate-limit auto/60", "or auto, or off (not 'auto/60')"),
        ("inboxes --rate-limit -3/60", "or auto, or off (RateLimit.requests must be"),
        ('inboxes --rate-limit ""', "or auto, or off (not '')"),
        ("inboxes --rate-limit 5/", "or auto, or off (not '5/')"),
        ("sandbox --rate-limit 300/0", "or auto, or off (RateLimit.per must be"),
        ("export x.jsonl --wait --rate-limit off", "--wait has no effect with"),
        ("export x.jsonl --share 0.5 --rate-limit off", "--share has no effect with --rate-limit"),
        ("inboxes --share 0", "for '--share': write it like 0.5, a number above 0, and at most 1"),
        ("inboxes --share 1.1", "write it like 0.5, a number above 0, and at most 1 (not '1.1')"),
        ("inboxes --share nan", "a number above 0, and at most 1 (not 'nan')"),
        ("inboxes --share half", "a number above 0, and at most 1 (not 'half')"),
        ("sandbox --share 0.5", "No such option '--share'"),
        ("conversations --attempts 0", "0 is not in the range"),
        ('conversations --sandbox --inbox ""', "for '--inbox': it is empty."),
        ("conversations --inbox a --inbox a", "for '--inbox': it can be given only"),
        ("conversations --status=a --status=b", "for '--status': it can be given only once"),
        ("export x.jsonl --status=a --status=b", "for '--status': it can be given only"),
        ("conversations --base-url example.com", "needs a scheme and a host"),
        ("conversations --base-url http://example.com", "or pass --allow-http"),
        ("inboxes --sandbox --sandbox-size 1000000000", "no such sandbox: "),
        ("inboxes --sandbox --base-url https://a.b", "--base-url has no effect with"),
        ("export x.jsonl --allow-http --sandbox", "--allow-http has no effect with"),
        ("conversations --sandbox-size 5000", "--sandbox-size has no effect without"),
        ("sandbox --inboxes 1000000000", "no such sandbox: inboxes must be"),
        ("sandbox --port 70000", "70000 is not in the range"),
    ],
)
def test_a_misuse_is_reported_in_one_line(cekat, monkeypatch, line, says):
    """A wrong argument ends with code 2 and one line that says what to write."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    ended = cekat(*shlex.split(line))

    assert ended.code == ExitCode.USAGE
    assert says in ended.err
    assert ended.err.startswith("cekat: ")
    assert len(ended.err.splitlines()) == 1
    assert ended.out == b""


def test_interrupted_before_anything_was_begun(cekat, monkeypatch):
    """Ctrl-C before the command starts to work ends it without a traceback."""

    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cekat_async.cli.app.build_connection", interrupted)
    ended = cekat("inboxes")

    assert ended.code == ExitCode.INTERRUPTED == 130
    assert "Traceback" not in ended.err


def test_a_port_that_is_taken(cekat, served):
    """If the sandbox's port is in use, that is reported in one line."""
    with served() as sandbox:
        ended = cekat("sandbox", "--port", sandbox.base_url.rpartition(":")[2])

    assert ended.code == ExitCode.USAGE
    assert ended.complaint.startswith("cekat: cannot listen on port ")
    assert ended.complaint.endswith("choose another --port, or leave it out to use any free port")
    assert ended.out == b""


def test_plain_http_to_another_host_needs_an_option(cekat, monkeypatch):
    """Without ``--allow-http``, an unencrypted connection to another host is wrong usage."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    server = ("--base-url", "http://nowhere.invalid", "--allow-http", "--attempts", "1")

    assert cekat("inboxes", *server).code == ExitCode.NOT_REACHED


def test_the_key_is_in_no_output(cekat, tmp_path, served, monkeypatch):
    """The key appears in no output and in no file, even with ``-v``."""
    echo = Fault.raw(
        status=400,
        body=b'{"success":false,"error":{"code":"X","message":"no %s here"}}' % KEY.encode(),
        headers={"X-Request-Id": KEY},
    )
    outputs = []
    with served(150, api_key=KEY) as sandbox:
        for faults in ([], [echo], [Fault.status(401)], [Fault.drop()], [Fault.raw(body=b"{")]):
            sandbox.fail_next(*faults)
            outputs.append(cekat("-v", "export", "x.jsonl", "--attempts", "1"))
        outputs.append(cekat("-v", "conversations"))
        monkeypatch.setenv("CEKAT_API_KEY", KEY + "\n")
        outputs.append(cekat("-v", "inboxes"))

    assert {ended.code for ended in outputs} == {0, 2, 3, 4, 5}
    for ended in outputs:
        assert KEY not in ended.err
        assert KEY.encode() not in ended.out
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "missing, code, says",
    [
        *(
            (extra, 8, f"cekat: the command line needs {extra}: pip install 'cekat-async[cli]'\n")
            for extra in ("click", "rich")
        ),
        # msgspec is not part of the extra, so the installation is broken without it.
        ("msgspec", ExitCode.FAULT, "msgspec"),
    ],
)
def test_a_missing_library(process, missing, code, says):
    """If the extra is missing, the command says how to install it.

    Other import errors are raised.
    """
    script = (
        f"import sys; sys.modules[{missing!r}] = None; "
        "from cekat_async.__main__ import main; sys.exit(main())"
    )
    running = process(script=script)
    err = running.communicate(timeout=300)[1].decode()

    assert running.returncode == code
    assert says in err
    assert ("Traceback" in err) == (code == ExitCode.FAULT)


@pytest.mark.parametrize(
    "error, code",
    [
        (errors.CekatError, ExitCode.API_FAILED),
        (errors.ConfigurationError, ExitCode.USAGE),
        (errors.MissingExtraError, ExitCode.MISSING_EXTRA),
        (errors.CheckpointError, ExitCode.CHECKPOINT_REFUSED),
        (errors.InboxesFailedError, ExitCode.API_FAILED),
        (errors.AuthenticationError, ExitCode.KEY_REFUSED),
        (errors.PermissionDeniedError, ExitCode.KEY_REFUSED),
        (errors.NotFoundError, ExitCode.API_FAILED),
        (errors.BadRequestError, ExitCode.API_FAILED),
        (errors.ServerError, ExitCode.API_FAILED),
        (errors.DecodeError, ExitCode.API_FAILED),
        (errors.PaginationError, ExitCode.API_FAILED),
        (errors.RateLimitError, ExitCode.QUOTA_SPENT),
        (errors.TargetError, ExitCode.TARGET_FAILED),
        (errors.TargetBusyError, ExitCode.TARGET_BUSY),
        (errors.ConnectTimeoutError, ExitCode.NOT_REACHED),
        (errors.ResponseLostError, ExitCode.NOT_REACHED),
        (errors.DeadlineExceededError, ExitCode.NOT_REACHED),
    ],
)
def test_each_error_has_its_code(error, code):
    """Each error has the exit code for the action that it needs."""
    assert get_exit_code(error("x")) is code


@pytest.mark.parametrize(
    "failed, code",
    [
        ([errors.ConnectTimeoutError(), errors.DeadlineExceededError()], ExitCode.NOT_REACHED),
        ([errors.RateLimitError()], ExitCode.QUOTA_SPENT),
        ([errors.PermissionDeniedError(), errors.PermissionDeniedError()], ExitCode.KEY_REFUSED),
        ([errors.PermissionDeniedError(), errors.ResponseLostError()], ExitCode.API_FAILED),
    ],
)
def test_inboxes_that_failed_alike_have_the_code_of_each(failed, code):
    """If all inboxes fail with the same exit code, the command uses that code.

    Otherwise, it uses the code of an API failure.
    """
    error = errors.InboxesFailedError("2 inboxes failed", errors=failed)

    assert get_exit_code(error) is code
    assert format_error(error) == "2 inboxes failed: to resume, run the same command again"


def test_advice_for_python_is_not_shown():
    """A command's user cannot pass ``on_malformed``, and gets other advice instead."""
    error = errors.MalformedRecordError("it has no id")

    assert str(error).endswith("pass on_malformed=…, a function that receives such records")
    assert format_error(error) == "it has no id: report it to the API's support"


def test_advice_has_the_notes_of_an_error():
    """The advice contains the notes of an error, such as why the request was not retried."""
    error = errors.ServerError("down", status=503)
    error.add_note("not retried: it is late")

    assert format_error(error) == "down (HTTP 503); not retried: it is late: try again later"
