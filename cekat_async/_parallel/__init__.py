"""One listing read by several walkers at once.

Start with ``walk.py``, which decides what each walker fetches next and whether to trust it.
"""
