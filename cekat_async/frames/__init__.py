"""Records as tables: the columns of a table, and its Arrow arrays.

Start with ``columns.py``. ``arrow.py`` needs the library pyarrow.
"""
