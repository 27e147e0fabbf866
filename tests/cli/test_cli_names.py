"""Names that are not UTF-8, locales and terminals that lack characters: a result, or one line."""

# ruff: noqa: S603 - the processes are our own program

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from support.effort import EFFORT

from cekat_async.cli import ExitCode

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names and locales as POSIX has them")

S = ("--sandbox", "--sandbox-size", "120", "--rate-limit", "off")
LATIN = b"caf\xe9"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


class Ran:
    """How a command ended: its exit code, and what it wrote, as bytes."""

    def __init__(self, *arguments, env=None, script=None, **options):
        program = ["-m", "cekat_async"] if script is None else ["-c", script]
        environment = os.environ | {"CEKAT_API_KEY": "a-made-up-key"} | (env or {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        done = subprocess.run(
            [sys.executable, *program, *arguments], check=False, env=environment, **options
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        assert b"Traceback" not in self.err

    @property
    def complaint(self):
        """The one line that it wrote."""
        (line,) = self.err.splitlines()
        return line.decode()

    @property
    def message(self):
        """What it wrote for a program: the last line, as JSON."""
        lines = self.err.decode().splitlines()
        return [json.loads(line) for line in lines][-1]


@pytest.fixture
def here(cekat, monkeypatch):
    """A function that runs a command in this process, with its arguments as a process has them."""
    monkeypatch.setenv("CEKAT_API_KEY", "a-made-up-key")
    return lambda *arguments: cekat(*map(os.fsdecode, arguments))


# File names


@pytest.mark.parametrize("suffix", [b".jsonl", b".sqlite"])
def test_a_target_whose_name_is_not_utf_8(here, tmp_path, suffix):
    """An export to such a file is done; what is said of it can be printed, in JSON as well."""
    target = LATIN + suffix
    shown = rf"caf\xe9{suffix.decode()}"
    done = Ran("export", target, *S)
    assert done.code == ExitCode.DONE
    assert f"{shown}: 120 conversations, complete\n".encode() in done.err

    again = here("export", target, *S, "--incremental", "--log-format", "json")
    assert again.code == ExitCode.DONE
    assert again.messages[-1]["manifest"]["target"] == shown
    assert os.path.lexists(os.fsencode(tmp_path) + b"/" + target)
    assert list(tmp_path.glob("*.checkpoint*")) == []


def test_a_duckdb_file_whose_name_is_not_utf_8(here):
    """DuckDB has no such files: that is said in one line, with the code for a wrong command."""
    done = here("export", LATIN + b".duckdb", *S)

    assert done.code == ExitCode.USAGE
    assert done.complaint == (
        r"cekat: DuckDB has no files whose names are not UTF-8: choose another than caf\xe9.duckdb"
    )


def test_a_stopped_export_to_such_a_name_is_resumed(process, tmp_path):
    """Its checkpoint is found again, in whatever locale the command is run again."""
    slow = ("--sandbox", "--rate-limit", "20/60")
    running = process("export", "é.jsonl", *slow, bufsize=0)
    assert b"00 records" in running.stderr.readline()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    stopped = Ran("export", "é.jsonl", *S[:1], "--rate-limit", "off", env=ASCII)

    assert stopped.code == ExitCode.DONE
    assert b" in 2 runs\n" in stopped.err
    assert (tmp_path / "é.jsonl").exists()


@pytest.mark.parametrize("suffix", [b".parquet/", b".duckdb"])
def test_a_name_that_the_locale_has_no_characters_for(tmp_path, suffix):
    """In an ASCII locale a file that was typed in UTF-8 is written under the very same name."""
    target = "é".encode() + suffix
    done = Ran("export", target, *S, "--log-format", "json", env=ASCII)

    assert done.code == ExitCode.DONE
    assert done.message["manifest"]["target"] == f"é{suffix.decode()}"
    assert os.path.lexists(os.fsencode(tmp_path) + b"/" + target)
    assert Ran("export", target, *S, env=ASCII).code == ExitCode.DONE


@pytest.mark.parametrize("key", ["target", "checkpoint", "api_key_file"])
def test_a_name_in_the_settings_that_the_locale_cannot_write(tmp_path, key):
    """A name that comes as characters for which the locale has no bytes is told in one line."""
    (tmp_path / "cekat.toml").write_text(f'{key} = "ü.jsonl"\n', encoding="utf-8")
    command = ("inboxes",) if key == "api_key_file" else ("export", *["x.jsonl"][key == "target" :])
    environment = {"CEKAT_API_KEY": ""} if key == "api_key_file" else {}
    done = Ran(*command, env=ASCII | environment)

    assert done.code == ExitCode.USAGE
    assert r"'\xfc.jsonl'" in done.complaint
    assert "this locale" in done.complaint


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ([b"export", b"/no-such-folder/" + LATIN + b".jsonl", *S], 7, "there is no folder"),
        ([b"export", b"x." + LATIN, *S], 2, "cannot export to"),
        ([b"export", b"x.jsonl", b"--checkpoint", LATIN + b"/x", *S], 7, "there is no folder"),
        ([b"inboxes", b"--api-key-file", LATIN], 2, "cannot read the key in caf\\xe9"),
        ([b"inboxes", b"--config", LATIN], 2, "cannot read caf\\xe9"),
        ([LATIN], 2, "No such command"),
        ([b"inboxes", b"--" + LATIN], 2, "No such option"),
    ],
)
def test_what_is_said_of_such_a_name(here, arguments, code, words):
    """An error that names such a file is one line, which can be printed, and its own exit code."""
    done = here(*arguments)

    assert done.code == code
    assert words in done.complaint


def test_what_is_said_of_such_a_name_in_json():
    """In a log for programs such an error is a line of JSON."""
    done = Ran("export", b"/no-such-folder/" + LATIN + b".jsonl", *S, "--log-format", "json")

    assert (done.code, done.message["exit_code"]) == (7, 7)
    assert r"/no-such-folder/caf\xe9.jsonl" in done.message["message"]


# Text


@pytest.mark.parametrize(
    "command, option",
    [
        *((("export", "x.sqlite"), o) for o in ("--account", "--inbox", "--status", "--table")),
        (("conversations",), "--inbox"),
        (("inboxes",), "--profile"),
    ],
)
def test_text_that_is_not_utf_8(here, command, option):
    """Text that is not UTF-8 is refused in one line, with the code for a wrong command."""
    done = here(*command, option, LATIN, *S)

    assert done.code == ExitCode.USAGE
    assert f"Invalid value for '{option}': it is not text in UTF-8." in done.complaint


@pytest.mark.parametrize("option", ["--account", "--table"])
def test_text_in_an_ascii_locale(option, tmp_path):
    """Text that was typed in UTF-8 is that text, whatever the locale is."""
    done = Ran("export", "x.sqlite", option, "Ünal", *S, "--log-format", "json", env=ASCII)

    assert done.code == ExitCode.DONE
    manifest = done.message["manifest"]
    assert "Ünal" in (
        manifest["account"], manifest["filters"]["stage_status"],
        *manifest["filters"]["inbox_ids"], manifest["target"].removeprefix("x.sqlite, table "),
    )  # fmt: skip


def test_the_url_of_a_database_that_is_not_utf_8(here):
    """Such a URL is told in one line, without the password in it."""
    done = here("export", b"postgresql://ada:S3cret@h/" + LATIN, *S)

    assert done.code == ExitCode.USAGE
    assert "it is not text in UTF-8." in done.complaint
    assert "S3cret" not in done.complaint


# Terminals


def on_a_terminal(*arguments, env):
    """Run a command whose standard output is a terminal; return what it wrote there."""
    pty = pytest.importorskip("pty")
    terminal, end = pty.openpty()
    try:
        done = Ran(*arguments, stdout=end, env=env | {"TERM": "xterm", "COLUMNS": "80"})
        assert done.code == ExitCode.DONE
    finally:
        os.close(end)
    written = os.read(terminal, 100_000)
    os.close(terminal)
    return re.sub(rb"\x1b\[[0-9;]*m", b"", written)


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "utf-8"])
def test_a_table_on_a_terminal_that_lacks_characters(encoding):
    """A table has its rows and its columns; what the terminal lacks is a question mark."""
    command = ("conversations", "-n", "12", "--sandbox")
    shown = on_a_terminal(*command, env={"PYTHONIOENCODING": encoding}).decode(encoding)
    lines = shown.splitlines()

    assert len(lines) == 13
    assert ("…" in shown) == (encoding == "utf-8")
    if encoding != "utf-8":  # where a character may be as wide as two
        times = {line[lines[0].index("at (UTC)") :].strip() for line in lines[1:]} - {""}
        assert all(re.fullmatch(r"[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}", time) for time in times)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
def test_help_where_characters_are_lacking(encoding):
    """Help is shown in full, whatever standard output can be written."""
    done = Ran("export", "--help", env={"PYTHONIOENCODING": encoding})

    assert done.code == ExitCode.DONE
    assert done.out.startswith(b"Usage: cekat ")
    assert done.err == b""


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-8"][: 3 if EFFORT > 1 else 2])
def test_a_log_in_json_is_json(encoding):
    """Each line of a log in JSON is JSON, whatever encoding standard error has."""
    name = "é 😀.jsonl"
    done = Ran("export", name, *S, "--log-format", "json", env={"PYTHONIOENCODING": encoding})

    assert done.code == ExitCode.DONE
    assert done.message["manifest"]["target"] == name


def test_a_log_on_a_terminal_that_lacks_characters():
    """What is said of a name is printed as well as can be, and the export is done."""
    done = Ran("export", "é.jsonl", *S, env={"PYTHONIOENCODING": "ascii"})

    assert done.code == ExitCode.DONE
    assert rb"\xe9.jsonl: 120 conversations, complete" in done.err


# No place for temporary files


NO_ROOM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from cekat_async.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_standard_output_without_a_folder_for_temporary_files(tmp_path):
    """Where no folder can be written, an export to standard output says so, and what to do."""
    done = Ran("export", "-", *S, script=NO_ROOM)

    assert done.code == ExitCode.TARGET_FAILED
    assert done.complaint.startswith("cekat: cannot make a temporary checkpoint (")
    assert done.complaint.endswith(
        "set TMPDIR to a folder that can be written, or pass --checkpoint FILE"
    )
    assert done.out == b""


def test_a_checkpoint_serves_where_there_is_no_such_folder(tmp_path):
    """With a checkpoint of its own an export to standard output needs no such folder."""
    script = NO_ROOM.replace(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))",
        "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/no-such-folder']",
    )
    refused = Ran("export", "-", *S, script=script)
    done = Ran("export", "-", *S, "--checkpoint", "x.checkpoint", script=script)

    assert (refused.code, done.code) == (ExitCode.TARGET_FAILED, ExitCode.DONE)
    assert done.out.count(b"\n") == 120
