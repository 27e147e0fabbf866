"""Budgets that several processes share, on one machine or on many: an optional part.

>>> async with FileBudget("cekat.sqlite") as budget:
...     answer = await budget.take(300, 60.0)
...     print(answer.wait)  # 0.0: taken; else ask again after that many seconds

A budget logs the requests of all processes in a store that all can reach. No window ever holds more
than the given number of them. It also passes on what one process learns of the server: the rate
that it grants, and until when it asked for a pause.
"""

from cekat_async.budgets.file import FileBudget
from cekat_async.budgets.redis import RedisBudget

__all__ = ["FileBudget", "RedisBudget"]
