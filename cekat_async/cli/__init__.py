"""The command line: ``cekat export``, ``conversations``, ``inboxes`` and ``sandbox``.

Start with ``app.py``, which declares the commands. ``options.py`` has their options, and
``commands/`` what they do. Messages for people go through ``reporter.py``.
"""

from cekat_async.cli.app import run
from cekat_async.cli.exit_codes import ExitCode

__all__ = ["ExitCode", "run"]
