"""The wire format: requests to text, replies to records, pages and errors. No I/O.

Start with ``messages.py`` (a request and its reply), then ``decoding.py`` (a reply's page).
"""
