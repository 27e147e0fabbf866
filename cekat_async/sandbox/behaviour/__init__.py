"""The difficult behaviour of a server: quotas, faults, and an account that changes during a walk.

Start with ``quota.py``, which has the counters that decide when a 429 is sent, and the headers that
report these counters. ``faults.py`` has the faults, and ``live.py`` has the events between two
pages.
"""
