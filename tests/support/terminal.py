"""Runs commands on a POSIX pseudo-terminal."""

# ruff: noqa: S603 - the processes are our own program

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs ``cekat``, or another command, on a terminal of its own."""

    def __init__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        width: int = 80,
        command: Sequence[str] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "cekat_async", *arguments],
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm-256color"} | dict(env or {}),
        )
        os.close(slave)
        self.seen = b""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            with self._changed:
                self.seen += data
                self._changed.notify_all()

    def wait_for(self, text: bytes) -> None:
        """Wait until the command has printed a text."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.seen, 300)

    def end(self, encoding: str = "utf-8") -> tuple[int, str]:
        """Wait until the command exits, and return its exit code and its output without colours."""
        code = self.process.wait(300)
        self._reader.join()
        os.close(self._master)
        return code, ESCAPES.sub("", self.seen.decode(encoding)).replace("\r\n", "\n")
