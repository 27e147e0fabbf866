"""What is said to people: lines of text, or for a scheduler one JSON object a line."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async.redaction import readable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Voice", "one_line"]


_UTF_8 = {"utf-8", "utf8"}


class Voice:
    """Says everything for people on standard error: standard output carries data alone.

    Args:
        console: Standard error, and what moves on it; made when it is first asked for.

    Attributes:
        as_json: Whether each thing that is said is a JSON object on a line of its own.
        key_from: Where the API key came from, for the advice of what to look at.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self.as_json = False
        self.key_from = "CEKAT_API_KEY"

    @property
    def console(self) -> Console:
        """Standard error, and what moves on it."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415 - one line of help needs no screen

            self._console = Console(stderr=True)
        return self._console

    def say(self, text: str, *, event: str = "message", level: str = "info", **fields: Any) -> None:
        """Say one line, under the command's name.

        Args:
            text: For a person.
            event: What it is, for a program.
            level: How bad it is: one of logging's names, in small letters.
            **fields: What a program may want to know beside the text.
        """
        line = one_line(text)
        if self.as_json:
            self._write(line, event, level, fields)
        else:
            self._print(f"cekat: {line}")

    def show(self, text: str, *, event: str, **fields: Any) -> None:
        """Say text of one or several lines as it is; the arguments are those of ``say``."""
        if self.as_json:
            self._write(text, event, "info", fields)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        if self._console is None:
            _write_err(text)
            return
        # Nothing in it is markup, and long lines are the terminal's to wrap.
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _write(self, text: str, event: str, level: str, fields: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = {"time": now, "level": level, "event": event, "message": text} | fields
        _write_err(_json(msgspec.to_builtins(said)))


def _json(said: Any) -> str:
    """Return a line of JSON that standard error can be written, and any program can read."""
    line = msgspec.json.encode(_readable(said)).decode()
    # An encoding that lacks a character would have it escaped in a way that JSON does not know.
    return line if sys.stderr.encoding.lower() in _UTF_8 else json.dumps(json.loads(line))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(key): _readable(one) for key, one in value.items()}
    return [_readable(one) for one in value] if isinstance(value, list) else value


def _write_err(line: str) -> None:
    # Looked up now, because what standard error is changes while the command runs.
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def one_line(text: str) -> str:
    """Return text that strangers may have written as one line without control characters."""
    text = readable(text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
