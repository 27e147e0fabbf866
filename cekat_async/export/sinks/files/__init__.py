"""Sinks that replace a file or a folder with each export, and standard output.

Start with ``base.py``. The sinks of a format are in the module with its name.
"""
