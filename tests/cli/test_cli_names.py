"""Names that are not UTF-8, and locales and logs that cannot encode some characters."""

import os
import signal

import pytest
from support.effort import EFFORT

from cekat_async.cli import ExitCode

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names and locales as POSIX has them")

S = ("--sandbox", "--sandbox-size", "120", "--rate-limit", "off")
LATIN = b"caf\xe9"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("CEKAT_API_KEY", "a-made-up-key")


# File names


@pytest.mark.parametrize("suffix", [b".jsonl", b".sqlite"])
def test_a_target_whose_name_is_not_utf_8(ran, cekat, tmp_path, suffix):
    """An export to a name that is not UTF-8 succeeds, and messages and JSON can show the name."""
    target = LATIN + suffix
    shown = rf"caf\xe9{suffix.decode()}"
    done = ran("export", target, *S)
    assert done.code == ExitCode.DONE
    assert f"{shown}: 120 conversations, complete\n" in done.err

    again = cekat("export", target, *S, "--incremental", "--log-format", "json")
    assert again.code == ExitCode.DONE
    assert again.messages[-1]["manifest"]["target"] == shown
    assert os.path.lexists(os.fsencode(tmp_path) + b"/" + target)
    assert list(tmp_path.glob("*.checkpoint*")) == []


def test_a_duckdb_file_whose_name_is_not_utf_8(cekat):
    """DuckDB cannot open a file whose name is not UTF-8.

    The command reports that in one line, as wrong usage.
    """
    done = cekat("export", LATIN + b".duckdb", *S)

    assert done.code == ExitCode.USAGE
    assert done.complaint == (
        r"cekat: DuckDB needs a file name in UTF-8: choose another name than caf\xe9.duckdb"
    )


def test_a_stopped_export_to_such_a_name_is_resumed(ran, process, tmp_path):
    """The checkpoint of a target with a non-ASCII name is found in any locale."""
    slow = ("--sandbox", "--rate-limit", "20/60")
    running = process("export", "é.jsonl", *slow, bufsize=0)
    assert b"00 records" in running.stderr.readline()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    stopped = ran("export", "é.jsonl", *S[:1], "--rate-limit", "off", env=ASCII)

    assert stopped.code == ExitCode.DONE
    assert " in 2 runs\n" in stopped.err
    assert (tmp_path / "é.jsonl").exists()


@pytest.mark.parametrize("suffix", [b".parquet/", b".duckdb"])
def test_a_name_that_the_locale_has_no_characters_for(ran, tmp_path, suffix):
    """In an ASCII locale, a file name that was typed in UTF-8 is used exactly."""
    target = "é".encode() + suffix
    done = ran("export", target, *S, "--log-format", "json", env=ASCII)

    assert done.code == ExitCode.DONE
    assert done.messages[-1]["manifest"]["target"] == f"é{suffix.decode()}"
    assert os.path.lexists(os.fsencode(tmp_path) + b"/" + target)
    assert ran("export", target, *S, env=ASCII).code == ExitCode.DONE


@pytest.mark.parametrize("key", ["target", "checkpoint", "api_key_file"])
def test_a_name_in_the_settings_that_the_locale_cannot_write(ran, tmp_path, key):
    """If the locale cannot encode a name from a settings file, one line reports that."""
    (tmp_path / "cekat.toml").write_text(f'{key} = "ü.jsonl"\n', encoding="utf-8")
    command = ("inboxes",) if key == "api_key_file" else ("export", *["x.jsonl"][key == "target" :])
    environment = {"CEKAT_API_KEY": ""} if key == "api_key_file" else {}
    done = ran(*command, env=ASCII | environment)

    assert done.code == ExitCode.USAGE
    assert r"'\xfc.jsonl'" in done.complaint
    assert "the locale" in done.complaint


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
def test_an_error_with_such_a_name(cekat, arguments, code, words):
    """An error about a name that is not UTF-8 is one printable line and keeps its exit code."""
    done = cekat(*arguments)

    assert done.code == code
    assert words in done.complaint


# Text


@pytest.mark.parametrize(
    "command, option",
    [
        *((("export", "x.sqlite"), o) for o in ("--account", "--inbox", "--status", "--table")),
        (("conversations",), "--inbox"),
        (("inboxes",), "--profile"),
    ],
)
def test_text_that_is_not_utf_8(cekat, command, option):
    """An option that is not UTF-8 is reported in one line, as wrong usage."""
    done = cekat(*command, option, LATIN, *S)

    assert done.code == ExitCode.USAGE
    assert f"Invalid value for '{option}': it is not text in UTF-8." in done.complaint


@pytest.mark.parametrize("option", ["--account", "--table"])
def test_text_in_an_ascii_locale(ran, option, tmp_path):
    """An option that was typed in UTF-8 is read as UTF-8 in any locale."""
    done = ran("export", "x.sqlite", option, "Ünal", *S, "--log-format", "json", env=ASCII)

    assert done.code == ExitCode.DONE
    manifest = done.messages[-1]["manifest"]
    assert "Ünal" in (
        manifest["account"], manifest["filters"]["stage_status"],
        *manifest["filters"]["inbox_ids"], manifest["target"].removeprefix("x.sqlite, table "),
    )  # fmt: skip


def test_the_url_of_a_database_that_is_not_utf_8(cekat):
    """A database URL that is not UTF-8 is reported in one line without its password."""
    done = cekat("export", b"postgresql://ada:S3cret@h/" + LATIN, *S)

    assert done.code == ExitCode.USAGE
    assert "it is not text in UTF-8." in done.complaint
    assert "S3cret" not in done.complaint


# Standard output and standard error


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
def test_help_where_characters_are_lacking(ran, encoding):
    """The complete help is shown in any encoding of standard output."""
    done = ran("export", "--help", env={"PYTHONIOENCODING": encoding})

    assert done.code == ExitCode.DONE
    assert done.out.startswith(b"Usage: cekat ")
    assert done.err == ""


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-8"][: 3 if EFFORT > 1 else 2])
def test_a_log_in_json_is_json(ran, encoding):
    """Each line of a JSON log is JSON in any encoding of standard error."""
    name = "é 😀.jsonl"
    done = ran("export", name, *S, "--log-format", "json", env={"PYTHONIOENCODING": encoding})

    assert done.code == ExitCode.DONE
    assert done.messages[-1]["manifest"]["target"] == name


def test_a_log_on_a_terminal_that_lacks_characters(ran):
    """Unprintable characters of a name are replaced, and the export succeeds."""
    done = ran("export", "é.jsonl", *S, env={"PYTHONIOENCODING": "ascii"})

    assert done.code == ExitCode.DONE
    assert r"\xe9.jsonl: 120 conversations, complete" in done.err


# No folder for temporary files


NO_ROOM = """
import sys, tempfile
from cekat_async.cli import run
tempfile._candidate_tempdir_list = lambda: ["/no-such-folder"]
sys.exit(run(sys.argv[1:]))
"""


def test_standard_output_without_a_folder_for_temporary_files(ran):
    """If no folder is writable, an export to standard output asks for ``--checkpoint``."""
    refused = ran("export", "-", *S, script=NO_ROOM)
    done = ran("export", "-", *S, "--checkpoint", "x.checkpoint", script=NO_ROOM)

    assert refused.code == ExitCode.TARGET_FAILED
    assert refused.complaint.startswith("cekat: cannot make a temporary checkpoint (")
    assert refused.complaint.endswith(
        "set TMPDIR to a folder that can be written, or pass --checkpoint FILE"
    )
    assert refused.out == b""
    assert done.code == ExitCode.DONE
    assert done.out.count(b"\n") == 120
