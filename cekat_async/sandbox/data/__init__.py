"""The data of an account: conversations and inboxes, all of which are computed from the seed.

Start with ``listing.py``, which puts the conversations in order and records every change.
``conversations.py`` builds the JSON of a conversation from the random draws in ``draws.py``.
"""
