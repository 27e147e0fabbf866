"""Sinks that replace a file or a folder with each export, and standard output.

Start with ``base.py``. A module with the name of a format has its sinks.
"""
