"""Runs all checks, prints a line for each, and returns the exit code."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from cekat_async.cli.commands.doctor.extras import describe_program, list_extras
from cekat_async.cli.commands.doctor.findings import Finding, State
from cekat_async.cli.commands.doctor.server import check_server
from cekat_async.cli.exit_codes import ExitCode
from cekat_async.cli.reporter import LONGEST_LINE
from cekat_async.cli.streams import can_encode, is_terminal, write_stdout
from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from cekat_async.cli.connection import Connection
    from cekat_async.cli.reporter import Reporter

__all__ = ["diagnose"]

_MARKS = {State.FINE: "✓", State.FAILED: "✗", State.SKIPPED: "·"}
# The marks for terminals that cannot show the usual characters.
_ASCII_MARKS = {State.FINE: "ok", State.FAILED: "!!", State.SKIPPED: "--"}
_TOPIC_WIDTH = 10


async def diagnose(reporter: Reporter, connection: Connection, settings: str) -> ExitCode:
    """Check everything that a request needs, print the findings, and return the exit code.

    Args:
        reporter: The reporter for the result of all checks.
        connection: The connection to check.
        settings: A text that names the file and the profile of the settings.
    """
    findings = [describe_program(), Finding("settings", settings)]
    _print(findings)
    with reporter.show_status("asking the server"):
        answered = await check_server(connection)
    _print(answered)
    extras = list_extras()
    _print(extras)
    failed = [one for one in answered if one.state is State.FAILED]
    checked = sum(one.state is not State.SKIPPED for one in answered)
    code = failed[0].code if failed else ExitCode.DONE
    reporter.report(
        f"{len(failed)} of {checked} checks failed"
        if failed
        else f"all {checked} checks from {answered[0].topic} to {answered[-1].topic} passed",
        event="checked",
        level="error" if failed else "info",
        exit_code=code,
        checks=[one.to_dict() for one in (*findings, *answered, *extras)],
    )
    return code


def _print(findings: list[Finding]) -> None:
    """Print a line for each finding, wrapped on a terminal."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"  # there may be no stdout
    marks = _MARKS if can_encode(encoding, "".join(_MARKS.values())) else _ASCII_MARKS
    width = shutil.get_terminal_size().columns if is_terminal() else sys.maxsize
    for one in findings:
        first = f"{marks[one.state]} {one.topic:{_TOPIC_WIDTH}}"
        line = textwrap.fill(
            one_line(one.text, LONGEST_LINE),
            width,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_on_hyphens=False,
        )
        write_stdout([f"{line}\n".encode(encoding, "replace")])
