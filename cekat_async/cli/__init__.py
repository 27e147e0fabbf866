"""The command line: ``cekat export``, ``conversations``, ``inboxes`` and ``sandbox``.

Start with ``app.py``, which declares the commands. ``options.py`` declares their options, and
``commands/`` implements them. ``reporter.py`` writes all messages.
"""

from cekat_async.cli.app import run
from cekat_async.cli.exit_codes import ExitCode

__all__ = ["ExitCode", "run"]
