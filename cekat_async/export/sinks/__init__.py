"""Sinks: the targets that an export can write to.

Start with ``base.py``, the interface of every sink. ``registry.py`` chooses the sink for a target.
"""
