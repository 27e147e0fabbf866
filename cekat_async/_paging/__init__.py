"""From page to page: walks along cursors and page numbers, prefetch, and many inboxes at once.

Start with ``cursor_walk.py``, and with ``page_fetcher.py``, which sends the requests of a walk.
``time_bounds.py`` says how ``since`` and ``until`` bound a walk, and why they miss nothing.
"""
