"""Draw the picture of the README: run commands in a real terminal, and save its screen as SVG.

    .venv/bin/python .ci/picture.py

It needs tmux, and `cekat` next to the Python that runs it.
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
EXPORT = "cekat export conversations.parquet --sandbox --sandbox-size 20000"
COMMANDS = [
    "cekat conversations --sandbox -n 4",
    # Interrupted after some seconds, to show that the next run resumes.
    (EXPORT, 1.2),
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

    def type(self, command: str, *, interrupt_after: float | None = None) -> None:
        """Run a command and wait for its end, or press Ctrl-C after some seconds."""
        self._wait_for_prompt()
        self._run("send-keys", command, "Enter")
        if interrupt_after is not None:
            time.sleep(interrupt_after)
            self._run("send-keys", "C-c")
        time.sleep(0.5)  # the shell must have begun, or its old prompt would be the last line
        self._wait_for_prompt()

    def screen(self) -> str:
        """Return what the terminal shows, with its colors as escape sequences."""
        return self._run("capture-pane", "-e", "-p").rstrip().removesuffix(PROMPT.strip()).rstrip()

    def close(self) -> None:
        """End the shell and its tmux server."""
        self._run("kill-server")

    def _wait_for_prompt(self) -> None:
        for _ in range(600):
            lines = self._run("capture-pane", "-p").rstrip().splitlines()
            if lines and lines[-1] == PROMPT.strip():
                return
            time.sleep(0.1)
        raise SystemExit("The shell did not return to its prompt within a minute.")

    def _run(self, *command: str) -> str:
        # Our own commands, with no input of others.
        result = subprocess.run(  # noqa: S603
            [*self._tmux, *command], check=True, capture_output=True, text=True
        )
        return result.stdout


def record() -> str:
    """Run the commands, and return the last screen."""
    # The shell may still be writing its history when the folder is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        terminal = Terminal(folder)
        try:
            for command in COMMANDS:
                text, seconds = command if isinstance(command, tuple) else (command, None)
                terminal.type(text, interrupt_after=seconds)
            return terminal.screen()
        finally:
            terminal.close()


def draw(screen: str) -> str:
    """Return the screen as SVG that loads nothing."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text.from_ansi(screen))
    # A fixed id keeps the file the same when the screen is the same.
    svg = console.export_svg(title="cekat", theme=MONOKAI, unique_id="terminal")
    return FONT_FACES.sub("", svg)


if __name__ == "__main__":
    PICTURE.write_text(draw(record()), encoding="utf-8")
    print(f"Wrote {PICTURE.name}.")
