"""What a client has to cope with: quotas, faults, and an account that changes while it is read.

Start with ``quota.py`` for the counters that decide about a 429 and the headers that report them,
``faults.py`` for what fails, and ``live.py`` for the events between two pages.
"""
