"""The state of the server's quota, derived from its replies. Pure.

``headers.py`` parses rate-limit headers, ``server_quota.py`` keeps the newest report, and
``remaining.py`` computes how many requests are left. ``limit_estimate.py`` decides which limits
apply, ``window_length.py`` estimates how long their windows are, and ``refusals.py`` classifies a
429.
"""
