"""Fetches page after page: walks along cursors and page numbers, prefetch, many inboxes.

Start with ``cursor_walk.py``, and with ``page_fetcher.py``, which sends the requests of a walk.
``time_bounds.py`` explains how ``since`` and ``until`` bound a walk, and why no record is missed.
"""
