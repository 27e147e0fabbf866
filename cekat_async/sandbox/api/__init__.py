"""The API without a network: converts a path and a query to a reply.

Start with ``routes.py``, which has the two endpoints. ``cursors.py`` issues and reads cursors.
"""
