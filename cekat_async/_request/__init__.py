"""The path of one request: retry, limiter, transport, verdict, decode.

Start with ``pipeline.py``, which implements this path.
"""
