"""The command-line documentation shows exactly what a terminal of 80 columns shows."""

import os
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="a terminal as POSIX has it")
from support.terminal import Terminal

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "command-line.md"
SESSIONS = [
    pytest.param(command, output, id=command)
    for command, output in re.findall(
        r"^```text\n\$ (.*?)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
]


@pytest.mark.parametrize("command, output", [one for one in SESSIONS if "--sandbox" in one.id])
def test_sessions_are_as_shown(command, output, tmp_path):
    """Each documented command that uses the sandbox prints what the page shows."""
    program = tmp_path / "cekat"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cekat_async "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TZ": "Asia/Jakarta",
        "TERM": "dumb",  # without a line that moves
    }
    code, text = Terminal(command=["sh", "-c", command], env=environment).end()

    assert code == 0
    assert [line.rstrip() for line in text.splitlines()] == output.splitlines()


def test_doctor_shows_the_checks_of_the_page():
    """The page shows the checks of ``cekat doctor`` in their order."""
    (shown,) = [one.values[1] for one in SESSIONS if one.id == "cekat doctor"]
    code, text = Terminal("doctor", "--sandbox", env={"TERM": "dumb"}).end()

    def list_checks(output):
        return list(dict.fromkeys(re.findall(r"^[✓✗·] (\w+)", output, re.MULTILINE)))

    assert code == 0
    assert list_checks(shown) == list_checks(text)
