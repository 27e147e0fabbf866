"""Sends the events of one export to the hooks of its client."""

from __future__ import annotations

import time
from contextlib import aclosing, contextmanager
from itertools import count
from typing import TYPE_CHECKING

from cekat_async.telemetry.export_events import (
    CatchUpBegun,
    ExportBegun,
    ExportEnded,
    ExportStepBegun,
    ExportStepEnded,
    PartitionEnded,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping

    from cekat_async import CekatClient, ConversationPage, Position
    from cekat_async.export.checks import Policy
    from cekat_async.export.manifest import Filters, Partition
    from cekat_async.export.report import ExportReport
    from cekat_async.telemetry.export_events import ExportStep

__all__ = ["EventEmitter"]

_numbers = count(1)


class EventEmitter:
    """Emits the events of one export.

    Args:
        client: The client whose hooks receive the events.
    """

    def __init__(self, client: CekatClient) -> None:
        self._hooks = client.hooks
        self._export = next(_numbers)

    @contextmanager
    def export(
        self, filters: Filters, policy: Policy, get_report: Callable[[], ExportReport | None]
    ) -> Generator[None, None, None]:
        """Report the start and the end of the export."""
        self._hooks.emit(
            ExportBegun(
                export=self._export, incremental=policy.incremental, by_inbox=filters.by_inbox
            )
        )

        def report_end(seconds: float, error: str | None) -> None:
            report = get_report()
            self._hooks.emit(
                ExportEnded(
                    export=self._export,
                    seconds=seconds,
                    conversations=report.conversations if report else 0,
                    error=error,
                )
            )

        with _measured(report_end):
            yield

    @contextmanager
    def step(
        self, step: ExportStep, count_records: Callable[[], int]
    ) -> Generator[None, None, None]:
        """Report the start and the end of a step."""
        self._hooks.emit(ExportStepBegun(export=self._export, step=step))

        def report_end(seconds: float, error: str | None) -> None:
            self._hooks.emit(
                ExportStepEnded(
                    export=self._export,
                    step=step,
                    records=count_records(),
                    seconds=seconds,
                    error=error,
                )
            )

        with _measured(report_end):
            yield

    async def watch(
        self,
        pages: AsyncGenerator[ConversationPage, None],
        positions: Mapping[str | None, Position],
    ) -> AsyncGenerator[ConversationPage, None]:
        """Yield the pages unchanged, and report the catch-up passes of their walks."""
        passes = {inbox_id: position.passes for inbox_id, position in positions.items()}
        async with aclosing(pages):
            async for page in pages:
                number = page.position.passes if page.position else 0
                if number > passes.get(page.inbox_id, 0):
                    passes[page.inbox_id] = number
                    self._hooks.emit(
                        CatchUpBegun(export=self._export, inbox_id=page.inbox_id, number=number)
                    )
                yield page

    def end_partitions(
        self, partitions: Iterable[Partition], errors: Mapping[str | None, str]
    ) -> None:
        """Report the end of each partition. ``errors`` contains the class names of their errors."""
        for one in partitions:
            self._hooks.emit(
                PartitionEnded(
                    export=self._export,
                    inbox_id=one.inbox_id,
                    pages=one.pages,
                    records=one.records,
                    error=errors.get(one.inbox_id),
                )
            )


@contextmanager
def _measured(
    report_end: Callable[[float, str | None], None],
) -> Generator[None, None, None]:
    """Report how long the body of the ``with`` statement took, and the class name of its error."""
    began, error = time.monotonic(), None
    try:
        yield
    except BaseException as failure:
        error = type(failure).__name__
        raise
    finally:
        report_end(time.monotonic() - began, error)
