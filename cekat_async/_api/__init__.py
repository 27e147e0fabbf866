"""The wire format: requests to text, replies to records, pages and errors. No I/O.

Start with ``requests.py`` and ``replies.py``, then ``decoding.py`` (a reply's page) and
``status.py`` (a reply's error).
"""
