"""Shell completion: commands, options, choices, columns and file names, in bash, zsh and fish."""

# ruff: noqa: S603 - the processes are our own program, and shells

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cekat_async.cli import run

DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "command-line.md"


@pytest.fixture
def complete(monkeypatch, capsys):
    """A function that returns the completions that bash offers at the end of a line."""

    def complete(line):
        monkeypatch.setenv("_CEKAT_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
        with pytest.raises(SystemExit) as ended:
            run([])
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        return out.split()

    return complete


@pytest.mark.parametrize(
    "line, offered",
    [
        ("cekat ", ["conversations", "doctor", "export", "inboxes", "sandbox"]),
        ("cekat ex", ["export"]),
        ("cekat export --log-format ", ["text", "json"]),
        ("cekat export --log-format j", ["json"]),
        ("cekat export --status re", ["resolved"]),
        ("cekat conversations --status ", ["assigned", "resolved", "pending", "open"]),
        ("cekat conversations --ag", ["--agent"]),
        ("cekat conversations --columns ag", ["agent"]),
        ("cekat conversations --columns id,contact_p", ["id,contact_phone"]),
        ("cekat inboxes --columns auto", ["auto_reassign"]),
        ("cekat inboxes --profile ", []),
    ],
)
def test_words_are_completed(complete, line, offered):
    """Commands, options, and option values from a known set are completed."""
    assert complete(line) == [f"plain,{word}" for word in offered]


@pytest.mark.parametrize(
    "line", ["cekat export x", "cekat export --checkpoint x", "cekat inboxes --config x",
             "cekat doctor --api-key-file x"],
)  # fmt: skip
def test_file_names_are_completed(complete, line):
    """If an argument is a file, the shell completes file names."""
    assert complete(line) == ["file,x"]


def test_completion_needs_no_valid_settings(complete, tmp_path):
    """An invalid settings file does not break completion."""
    (tmp_path / "cekat.toml").write_text("[")

    assert complete("cekat export --log-format ") == ["plain,text", "plain,json"]


SCRIPTS = dict(
    re.findall(r"^\| (bash|zsh|fish) \| .*? \| `(.*?)` \|$", DOCS.read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documented_line_works(shell, tmp_path):
    """The documented line installs the completion of ``cekat`` in the shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "cekat").write_text(f'#!/bin/sh\nexec {sys.executable} -m cekat_async "$@"\n')
    (tmp_path / "cekat").chmod(0o755)
    asks = {
        "bash": "complete -p cekat",
        "zsh": "echo ${_comps[cekat]}",
        "fish": "complete -C 'cekat conversations --status as'",
    }[shell]
    before = "autoload -U compinit && compinit -u\n" if shell == "zsh" else ""
    ended = subprocess.run(
        [shell, "-c", f"{before}{SCRIPTS[shell].replace(chr(92) + '|', '|')}\n{asks}"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    expected = {"bash": "-F _cekat_completion cekat", "zsh": "_cekat_completion"}
    assert expected.get(shell, "assigned") in ended.stdout, ended.stderr
