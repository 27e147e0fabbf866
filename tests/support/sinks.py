"""Helpers for tests of sinks: records, a manifest, and functions that read a target."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cekat_async.export.manifest import Filters, Manifest
from cekat_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cekat_async.export import Sink

MOMENT = datetime(2026, 4, 10, 5, 47, 16, 771000, tzinfo=UTC)


class Given:
    """Records in batches, like those that an export passes to its sink.

    They can be iterated any number of times. If ``error`` is given, each iteration raises it
    after ``fail_after`` batches, like an export that is stopped.
    """

    def __init__(
        self,
        records: Iterable[bytes],
        *,
        batch: int = 100,
        fail_after: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.records = list(records)
        self._batch, self._fail_after, self._error = batch, fail_after, error

    def __iter__(self) -> Iterator[list[bytes]]:
        for number, begin in enumerate(range(0, len(self.records), self._batch)):
            if number == self._fail_after and self._error is not None:
                raise self._error
            yield self.records[begin : begin + self._batch]

    def __len__(self) -> int:
        return len(self.records)


def some_records(count: int = 250, **options: Any) -> list[bytes]:
    """Return the bytes of a new sandbox's conversations."""
    return [record for _, record in Sandbox(count, **options).records()]


def a_manifest(target: str = "a target", **values: Any) -> Manifest:
    """Return a manifest like the one that an export creates for its sink."""
    return Manifest(
        version="0", account="an account", target=target, filters=Filters(), began=MOMENT,
        ended=MOMENT, **values,
    )  # fmt: skip


def read_stored(sink: Sink) -> list[bytes]:
    """Return the records in a sink's target."""
    return [record for batch in sink.stored() or () for record in batch]


def list_names(folder: Path) -> list[str]:
    """Return the sorted names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def publish(sink: Sink, records: Iterable[bytes] | Given, **values: Any) -> Manifest:
    """Open a sink, publish records with it, and close it. Return the stored manifest."""
    try:
        sink.open()
        return sink.publish(
            records if isinstance(records, Given) else Given(records),
            a_manifest(sink.target, **values),
        )
    finally:
        sink.close()
