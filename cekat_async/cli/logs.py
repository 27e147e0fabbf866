"""What the package logs, said to people."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cekat_async.cli.voice import Voice

__all__ = ["log_everything", "log_to"]

_LOGGER = logging.getLogger("cekat_async")


class _VoiceHandler(logging.Handler):
    """Says what the package logs above a moving progress line, instead of into it."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        event = "warning" if record.levelno >= logging.WARNING else "log"
        self._voice.say(record.getMessage(), event=event, level=level)


def log_to(voice: Voice) -> None:
    """Show the package's warnings, and its retries and pauses: they say why nothing happens."""
    _LOGGER.handlers[:] = [_VoiceHandler(voice)]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def log_everything() -> None:
    """Show all that the package logs, each request too."""
    _LOGGER.setLevel(logging.DEBUG)
