"""The command line: ``cekat export``, ``conversations``, ``inboxes`` and ``sandbox``."""

from cekat_async.cli.app import run
from cekat_async.cli.exits import ExitCode

__all__ = ["ExitCode", "run"]
