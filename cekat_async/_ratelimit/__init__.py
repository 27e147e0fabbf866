"""When a request may be sent.

Start with ``limiter.py``: it asks ``scheduler.py`` for the time of the next request, and waits.
``headers.py`` parses the rate-limit headers, ``server_quota.py`` keeps what the server reports,
``sent_log.py`` what was sent.
"""
