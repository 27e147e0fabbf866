"""The work of each command, imported when it runs so that ``--help`` stays fast.

Start with ``export.py``, which runs ``cekat export``. Only that command needs the modules named
``export_*``.
"""
