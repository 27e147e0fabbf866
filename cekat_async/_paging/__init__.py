"""Fetches pages: walks along cursors or page numbers, prefetches pages, walks many inboxes.

Start with ``cursor_walk.py``. ``page_fetcher.py`` sends the requests of a walk. ``time_bounds.py``
explains how ``since`` and ``until`` bound a walk, and why no record is missed.
"""
