"""The implementations of the commands.

Each module is imported only when its command runs, so that ``--help`` is fast. Start with
``export.py``, which runs ``cekat export``. Only that command needs the modules whose names begin
with ``export_``.
"""
