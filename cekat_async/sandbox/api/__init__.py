"""The API without a network: converts the path and query of a request to a reply.

Start with ``routes.py``, which has the two endpoints. ``cursors.py`` issues cursors and reads them.
"""
