"""What is known of the server's quota, and how surely. Pure.

``headers.py`` parses what replies report, ``server_quota.py`` keeps the newest report and
``remaining.py`` computes what it leaves. ``limit_estimate.py`` decides which limits count,
``window_length.py`` how long their windows are, and ``refusals.py`` what a 429 means.
"""
