"""The attributes of a client: one file for each resource of the API.

Start with ``conversations.py``.
"""
