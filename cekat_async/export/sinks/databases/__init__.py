"""Sinks that merge an export into a table of a database.

Start with ``base.py``. ``file.py`` is for databases in a single file: SQLite and DuckDB.
"""
