"""Decides when a request may be sent.

Start with ``limiter.py``: it gets the time of the next request from ``scheduler.py``, and waits.
``sent_log.py`` records all sent requests. ``server/`` estimates the server's quota.
"""
