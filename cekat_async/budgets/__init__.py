"""Budgets: one quota shared by several processes, on one machine or on many.

>>> async with FileBudget("cekat.sqlite") as budget:
...     answer = await budget.take(300, 60.0)
...     print(answer.wait)  # 0.0: taken. Otherwise take again after this many seconds.

A budget counts the requests of all processes in a store that all of them can reach. No window ever
contains more requests than the given limit. If the server reports a rate or a pause to one process,
the budget passes this on to the other processes.
"""

from cekat_async.budgets.file import FileBudget
from cekat_async.budgets.redis import RedisBudget

__all__ = ["FileBudget", "RedisBudget"]
