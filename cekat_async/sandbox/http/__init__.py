"""The HTTP server: connections, and the path of one request from arrival to reply.

Start with ``handler.py``, which implements this path: log, quota, fault, key, API, delivery.
"""
