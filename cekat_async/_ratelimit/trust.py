"""Whether the server's word about what is left is to be taken. Pure.

A server may promise what it refuses, or deny what it grants. Neither may stop us, nor get us
refused again and again: what was caught lying is not believed for a while.
"""

from __future__ import annotations

import math

__all__ = ["Trust"]

# Grants in a row against its word that nothing is left, and after which it says so again, show that
# it says so whatever happens.
_ZEROS = 6
# What was caught lying is not believed for so many periods, and twice as many the next time.
_DISTRUST = 10


class Trust:
    """What the server says is compared with what it does.

    Attributes:
        promises_from: From when on its word of much that is left is taken.
        denials_from: From when on its word of nothing that is left is taken.
        tests_from: From when on that may be put to the test again.
        zeros: Grants in a row against its word, after which it said the same.
    """

    def __init__(self) -> None:
        self.promises_from = self.denials_from = self.tests_from = -math.inf
        self.zeros = 0
        self._periods = float(_DISTRUST)

    def granted(self, remaining: int, now: float, per: float, *, against: bool) -> None:
        """See whether its word of "nothing left" can be true, when so much is granted after it.

        Args:
            remaining: What is left, by its word, after a grant.
            now: The time.
            per: Seconds of a period.
            against: Whether it had said that nothing is left when it was asked.
        """
        if remaining:
            self.zeros = 0
        elif against:
            self.zeros += 1
        if self.zeros >= _ZEROS:
            self.denials_from = now + self._periods * per
            self.zeros, self._periods = 0, 2 * self._periods

    def proved_true(self, now: float, per: float) -> None:
        """Leave it at that for a while: its word of "nothing left" was put to the test."""
        self.tests_from = now + _DISTRUST * per

    def broke_a_promise(self, now: float, per: float) -> None:
        """Take its promises for nothing for a while: it refused what it said was left."""
        self.promises_from = now + self._periods * per
