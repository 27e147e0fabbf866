"""What an account contains: conversations and inboxes, all of them computed from the seed.

Start with ``listing.py``, which puts the conversations in order and records every change.
``conversations.py`` makes the JSON of one, from the random draws in ``draws.py``.
"""
