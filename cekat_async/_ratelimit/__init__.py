"""When a request may be sent.

Start with ``limiter.py``: it asks ``scheduler.py`` for the time of the next request, and waits.
``headers.py`` parses the rate-limit headers, ``sent_log.py`` remembers what was sent.
"""
