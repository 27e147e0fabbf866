"""The sink for standard output, and sinks that replace a file or a folder at each export.

Start with ``base.py``. The sinks for a format are in the module that is named after it.
"""
