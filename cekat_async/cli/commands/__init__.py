"""What each command does, imported when it runs so that ``--help`` stays fast.

Start with ``export.py``, which runs ``cekat export``. The modules named ``export_*`` hold what
only that command needs.
"""
