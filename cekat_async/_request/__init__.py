"""The path of one request: retry, then limiter, then transport, then verdict, then decode.

Start with ``pipeline.py``, which is that path.
"""
