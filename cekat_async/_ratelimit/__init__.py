"""When a request may be sent.

Start with ``limiter.py``: it asks ``scheduler.py`` for the time of the next request, and waits.
``sent_log.py`` keeps what was sent, and ``server/`` what is known of the server's quota.
"""
