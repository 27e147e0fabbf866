"""Sinks that merge an export into a table of a database.

Start with ``base.py``. ``file.py`` adds what SQLite and DuckDB share: a database that is one file.
"""
