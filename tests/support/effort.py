"""How much work something is, on any machine: it is counted, not timed."""

import sys


def calls_in(work):
    """Return how many calls of functions ``work()`` makes, those into C included."""
    count = 0

    def look(_frame, event, _called):
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
