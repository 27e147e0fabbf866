"""From page to page: walks along cursors and page numbers, prefetch, and many inboxes at once.

Start with ``cursor_walk.py`` (where a walk is), then ``page_walk.py`` (the loops).
"""
