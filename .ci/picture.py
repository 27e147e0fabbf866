"""Draw the picture of the README: run commands in a real terminal, and save its screen as SVG.

    .venv/bin/python .ci/picture.py

The script needs tmux, and `cekat` next to the Python that runs the script.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parent.parent / "docs" / "assets" / "terminal.svg"
WIDTH, HEIGHT = 80, 30
PROMPT = "$ "
_PROMPT_AT_END = re.compile(r"^\$\Z", re.MULTILINE)
EXPORT = "cekat export conversations.parquet --sandbox --sandbox-size 20000"
COMMANDS = [
    "cekat conversations --sandbox -n 4",
    # The first run is interrupted when its progress line shows thousands of records, and the next
    # run resumes.
    (EXPORT, re.compile(r"\d,\d{3} records")),
    EXPORT,
]
# Rich refers to a font on another host. A picture must not load anything.
FONT_FACES = re.compile(r"@font-face \{.*?\}", re.DOTALL)


class Terminal:
    """A shell in tmux, in a temporary folder."""

    def __init__(self, folder: str) -> None:
        self._tmux = ["tmux", "-L", f"picture-{os.getpid()}"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
        shell = ["env", "-i", f"PATH={path}", f"HOME={folder}", "TERM=tmux-256color"]
        shell += ["LANG=C.UTF-8", f"PS1={PROMPT}", "bash", "--norc", "--noprofile"]
        self._run("-f", "/dev/null", "new-session", "-d", "-c", folder, *size, *shell)

    def type(self, command: str, *, interrupt_at: re.Pattern[str] | None = None) -> None:
        """Run a command and wait for its end, or press Ctrl-C when the screen shows a pattern."""
        self._wait_for(_PROMPT_AT_END)
        self._run("send-keys", command, "Enter")
        if interrupt_at is not None:
            self._wait_for(interrupt_at)
            self._run("send-keys", "C-c")
        time.sleep(0.5)  # until the command starts, the old prompt is the last line
        self._wait_for(_PROMPT_AT_END)

    def screen(self) -> str:
        """Return what the terminal shows, with its colors as escape sequences."""
        return self._run("capture-pane", "-e", "-p").rstrip().removesuffix(PROMPT.strip()).rstrip()

    def close(self) -> None:
        """End the shell and tmux."""
        self._run("kill-server")

    def _wait_for(self, wanted: re.Pattern[str]) -> None:
        for _ in range(600):
            if wanted.search(self._run("capture-pane", "-p").rstrip()):
                return
            time.sleep(0.1)
        raise SystemExit(f"The terminal did not show {wanted.pattern!r} within a minute.")

    def _run(self, *command: str) -> str:
        # These are our own commands, without any input from outside.
        result = subprocess.run(  # noqa: S603
            [*self._tmux, *command], check=True, capture_output=True, text=True
        )
        return result.stdout


def record() -> str:
    """Run the commands, and return the last screen."""
    # The shell may still be writing its history while the folder is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        terminal = Terminal(folder)
        try:
            for command in COMMANDS:
                text, interrupt_at = command if isinstance(command, tuple) else (command, None)
                terminal.type(text, interrupt_at=interrupt_at)
            return terminal.screen()
        finally:
            terminal.close()


def draw(screen: str) -> str:
    """Return the screen as an SVG that loads nothing."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text.from_ansi(screen))
    # A fixed id, so that the same screen always gives the same file.
    svg = console.export_svg(title="cekat", theme=MONOKAI, unique_id="terminal")
    return FONT_FACES.sub("", svg)


if __name__ == "__main__":
    PICTURE.write_text(draw(record()), encoding="utf-8")
    print(f"Wrote {PICTURE.name}.")
