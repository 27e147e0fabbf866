"""Writes messages: as text for people, or as one JSON object per line for a log collector."""

# Messages are JSON of any shape.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import json
import logging
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async.cli.streams import can_encode
from cekat_async.redaction import one_line, readable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.status import Status

__all__ = ["LONGEST_LINE", "Reporter", "log_to", "log_verbosely"]

_LOGGER = logging.getLogger("cekat_async")
_UTF_8 = {"utf-8", "utf8"}

LONGEST_LINE = 10_000
"""The maximum length of a line that may contain untrusted text. Longer lines are cut."""


class Reporter:
    """Writes all messages to standard error, because standard output is only for data.

    Attributes:
        as_json: Whether each message is a JSON object on its own line.
        key_source: The place from which the API key was read, for advice on what to check.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self.as_json = False
        self.key_source = "CEKAT_API_KEY"

    @property
    def console(self) -> Console:
        """The console for standard error, which is created on first use."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415 - slow, and --help does not need it

            self._console = Console(stderr=True)
        return self._console

    @property
    def has_screen(self) -> bool:
        """Whether standard error is a terminal on which a line can move."""
        # Check both properties: with FORCE_COLOR, rich treats a file as a terminal, and some
        # terminals cannot move the cursor (TERM=dumb).
        console = self.console
        return console.is_interactive and console.file.isatty() and not self.as_json

    def show_status(self, text: str) -> AbstractContextManager[Status | None]:
        """Show a moving line with a text while the body of ``with`` runs, if there is a screen."""
        if not self.has_screen:
            return nullcontext()
        spinner = "dots" if can_encode(self.console.encoding, "⠋") else "line"
        return self.console.status(text, spinner=spinner)

    def report(
        self, text: str, *, event: str = "message", level: str = "info", **fields: Any
    ) -> None:
        """Write one line that begins with the command's name.

        Args:
            text: The message for a person.
            event: The kind of message, for programs that read the log.
            level: The severity: the name of a logging level, in lower case.
            **fields: Further values for programs that read the log. Only the JSON format shows
                them.
        """
        line = one_line(text, LONGEST_LINE)
        if self.as_json:
            _write_json(line, event, level, fields)
        else:
            self._print(f"cekat: {line}")

    def report_block(self, text: str, *, event: str, **fields: Any) -> None:
        """Write a text of one or more lines unchanged. See ``report`` for the arguments."""
        if self.as_json:
            _write_json(text, event, "info", fields)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        if self._console is None:
            _write_line(text)
            return
        # The text contains no markup. The terminal wraps long lines, so rich does not need to.
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


class _ReporterHandler(logging.Handler):
    """Reports the package's log messages, above the moving progress line if there is one."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        event = "warning" if record.levelno >= logging.WARNING else "log"
        self._reporter.report(record.getMessage(), event=event, level=level)


def log_to(reporter: Reporter) -> None:
    """Make the reporter report the package's warnings, retries and pauses, which explain delays."""
    _LOGGER.handlers[:] = [_ReporterHandler(reporter)]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def log_verbosely() -> None:
    """Make the reporter report everything that the package logs, including each request."""
    _LOGGER.setLevel(logging.DEBUG)


def _write_json(text: str, event: str, level: str, fields: dict[str, Any]) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {"time": now, "level": level, "event": event, "message": text} | fields
    _write_line(_encode(msgspec.to_builtins(message)))


def _encode(message: Any) -> str:
    """Return a line of JSON that standard error can encode and any program can parse."""
    line = msgspec.json.encode(_make_readable(message)).decode()
    # If the encoding lacks a character, Python would escape it in a way that is not valid JSON.
    return line if sys.stderr.encoding.lower() in _UTF_8 else json.dumps(json.loads(line))


def _make_readable(value: Any) -> Any:
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_make_readable(key): _make_readable(item) for key, item in value.items()}
    return [_make_readable(item) for item in value] if isinstance(value, list) else value


def _write_line(line: str) -> None:
    # Look up sys.stderr for each line, because it is replaced while a command runs.
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
