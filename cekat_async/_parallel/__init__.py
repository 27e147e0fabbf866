"""Reads one listing with several walkers, until nothing can be missing.

Start with ``walk.py``, which decides what each walker fetches next. ``chain.py`` joins segments and
checks them. ``catch_up.py`` finds the records that moved during the walk.
"""
