"""The wire format. Encodes requests, and decodes replies to records, pages and errors. No I/O.

Start with ``requests.py`` and ``replies.py``, then ``decoding.py`` (a page from a
reply) and ``status.py`` (an error from a reply).
"""
