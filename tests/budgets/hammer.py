"""A process that takes from a budget at maximum speed: `hammer.py KIND PLACE N PER FOR`."""

import asyncio
import json
import sys
import time

from cekat_async.budgets import FileBudget, RedisBudget


async def take_all(
    budget: FileBudget | RedisBudget, requests: int, per: float, end: float
) -> list[tuple[float, float]]:
    """Return the moments before and after each call that took a request."""
    taken: list[tuple[float, float]] = []
    while (asked := time.monotonic()) < end:
        wait = (await budget.take(requests, per)).wait
        if not wait:
            taken.append((asked, time.monotonic()))
        await asyncio.sleep(wait)
    return taken


async def main(kind: str, place: str, requests: int, per: float, lasting: float) -> None:
    kinds: dict[str, type[FileBudget | RedisBudget]] = {"redis": RedisBudget, "file": FileBudget}
    async with kinds[kind](place, timeout=300.0) as budget:
        print("ready", flush=True)  # noqa: T201 - what starts it waits for that, to start all
        sys.stdin.readline()
        end = time.monotonic() + lasting
        tasks = [take_all(budget, requests, per, end) for _ in range(3)]
        taken = await asyncio.gather(*tasks)
    print(json.dumps([pair for one in taken for pair in one]))  # noqa: T201 - its result


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[3:]]
    asyncio.run(main(sys.argv[1], sys.argv[2], int(numbers[0]), *numbers[1:]))
