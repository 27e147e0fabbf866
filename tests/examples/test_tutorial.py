"""The tutorial: its files and commands work in order and as written, and print what it shows."""

import os
import re
import socket
import sysconfig
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="a terminal as POSIX has it")
from support.terminal import Terminal

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
BLOCK = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>.+?)")?\n'
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = re.compile(r"^ *<!-- not run: .+ -->\n *```sh\n.*?```\n", re.MULTILINE | re.DOTALL)
BANNER_END = b"/api/conversations?limit=5'"

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(find_spec("matplotlib") is None, reason="the tutorial draws a chart"),
    pytest.mark.skipif(not (SCRIPTS / "cekat").exists(), reason="cekat is not a script here"),
]


class Reader:
    """Somebody who follows the tutorial in a folder of their own."""

    def __init__(self, home):
        self.folder = home / "cekat-tutorial"
        (self.folder / ".venv").mkdir(parents=True)
        (self.folder / ".venv" / "bin").symlink_to(SCRIPTS)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CEKAT_")
        } | {
            "HOME": str(home),
            "MPLBACKEND": "agg",
            "PATH": os.pathsep.join([str(SCRIPTS), os.environ["PATH"]]),
            "TZ": "UTC",
        }
        self.sandbox = None

    def save(self, name, text):
        """Save a file, or a file of ``examples/`` that the page includes."""
        if included := re.fullmatch("--8<--\n(.+)\n--8<--\n", text):
            text = (ROOT / included[1]).read_text(encoding="utf-8")
        (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, command):
        """Run a block of commands. Keep the variables that they set, and return the screen."""
        for name, value in re.findall(r"^export (\w+)=(\S+)$", command, re.MULTILINE):
            self.environment[name] = value
        for names in re.findall(r"^unset (.+)$", command, re.MULTILINE):
            self.environment = {k: v for k, v in self.environment.items() if k not in names.split()}
        return self.start(command) if "cekat sandbox" in command else self.show(command)

    def start(self, command):
        """Start the sandbox in the second terminal, and return its output so far."""
        command = command.replace("cekat", "exec cekat")  # signals reach the sandbox directly
        self.sandbox = self.open_terminal(command)
        self.sandbox.wait_for(BANNER_END)
        return self.sandbox.seen.decode().replace("\r\n", "\n")

    def show(self, command):
        """Run commands on a terminal, and return the final screen."""
        code, screen = self.open_terminal(command).end()
        assert code == 0, screen
        # A progress line is overwritten.
        return "\n".join(line.rpartition("\r")[2] for line in screen.splitlines())

    def open_terminal(self, command):
        """Run commands on a terminal in the reader's folder."""
        return Terminal(command=["sh", "-ec", command], env=self.environment, cwd=self.folder)

    def close(self):
        if self.sandbox is not None:
            self.sandbox.process.terminate()
            self.sandbox.end()


@pytest.fixture
def reader(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("CEKAT_")]:
        monkeypatch.delenv(name)
    reader = Reader(tmp_path)
    yield reader
    reader.close()


def mask_numbers(line):
    """Return a line without its numbers, which depend on the time."""
    return re.sub(r"\d[\d,.]*", "N", line).rstrip()


def require_shown(shown, screen, *, is_export):
    """Check that the screen has each line that the page shows, in the same order."""
    lines = iter(screen.splitlines())
    for expected in shown.splitlines():
        if is_export:
            assert any(mask_numbers(line).startswith(mask_numbers(expected)) for line in lines), (
                expected,
                screen,
            )
        else:
            assert any(line.rstrip() == expected for line in lines), (expected, screen)


def test_the_tutorial_works_as_written(reader):
    """Each file is saved and each command is run. The screen then shows what the page shows."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    page = NOT_RUN.sub("", page).replace("8765", reader.port)
    screen, command, compared = "", "", 0
    for block in BLOCK.finditer(page):
        text = textwrap.dedent(block["text"])
        if block["title"]:
            reader.save(block["title"], text)
        elif block["language"] == "sh":
            command = re.sub(r"^(mkdir|python3 -m venv|pip|cd) .*\n", "", text, flags=re.MULTILINE)
            screen = reader.run(command)
        else:
            require_shown(text, screen, is_export="cekat export" in command)
            compared += 1

    assert compared == 7
    assert (reader.folder / "agents.png").read_bytes().startswith(b"\x89PNG")

    # The crontab's line works in the environment that cron gives to it.
    cron_line = (reader.folder / "crontab").read_text().split(maxsplit=5)[5]
    reader.environment |= {"PATH": "/usr/bin:/bin"}
    assert "conversations, complete" in reader.show(cron_line)
