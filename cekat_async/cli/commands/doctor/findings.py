"""The result of one check of ``cekat doctor``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from cekat_async.cli.exit_codes import ExitCode, format_error, get_exit_code

if TYPE_CHECKING:
    from cekat_async import CekatError

__all__ = ["Finding", "State", "fail", "skip"]


class State(StrEnum):
    """The outcome of a check."""

    FINE = "fine"
    FAILED = "failed"
    SKIPPED = "skipped"  # the check does not apply, or another check has to pass first


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        topic: The thing that was checked, in one word.
        text: The finding. If the check failed, it includes the remedy.
        state: The outcome of the check.
        code: The exit code to use if the check failed.
    """

    topic: str
    text: str
    state: State = State.FINE
    code: ExitCode = ExitCode.DONE

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as fields for a log in JSON."""
        return {"check": self.topic, "state": self.state.value, "message": self.text}


def fail(topic: str, error: CekatError, key_source: str) -> Finding:
    """Return the finding for a check that failed with an error."""
    return Finding(topic, format_error(error, key_source), State.FAILED, get_exit_code(error))


def skip(topic: str, text: str = "not checked") -> Finding:
    """Return the finding for a check that was skipped."""
    return Finding(topic, text, State.SKIPPED)
