"""The difficult behaviour of a server: quotas, faults, and an account that changes during a walk.

Start with ``quota.py``, which has the counters that decide about a 429, and the headers that report
them. ``faults.py`` has the faults, and ``live.py`` the events between two pages.
"""
