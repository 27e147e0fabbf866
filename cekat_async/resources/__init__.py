"""The resources of the API, which are attributes of a client. Each resource has its own file.

Start with ``conversations.py``.
"""
