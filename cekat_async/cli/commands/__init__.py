"""The implementation of each command. It is imported when the command runs: ``--help`` is fast.

Start with ``export.py``, which runs ``cekat export``. Only that command needs the modules named
``export_*``.
"""
