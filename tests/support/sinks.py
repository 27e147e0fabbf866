"""Helpers for tests of sinks: records without a network, and a manifest for them."""

from datetime import UTC, datetime

from cekat_async.export.manifest import Filters, Manifest
from cekat_async.sandbox import Sandbox

MOMENT = datetime(2026, 4, 10, 5, 47, 16, 771000, tzinfo=UTC)


class Given:
    """Records as an export passes them to its sink: in batches, any number of times.

    After ``fail_after`` batches the iteration raises ``error``, as in an export that is
    stopped.
    """

    def __init__(self, records, *, batch=100, fail_after=None, error=None):
        self.records = list(records)
        self._batch, self._fail_after, self._error = batch, fail_after, error

    def __iter__(self):
        for number, begin in enumerate(range(0, len(self.records), self._batch)):
            if number == self._fail_after:
                raise self._error
            yield self.records[begin : begin + self._batch]

    def __len__(self):
        return len(self.records)


def some_records(count=250, **options):
    """Return the bytes of a sandbox's conversations."""
    return [record for _, record in Sandbox(count, **options).records()]


def a_manifest(target="a target", **values):
    """Return a manifest as an export creates it for its sink."""
    return Manifest(
        version="0", account="an account", target=target, filters=Filters(), began=MOMENT,
        ended=MOMENT, **values,
    )  # fmt: skip


def read_stored(sink):
    """Return the records in a sink's target."""
    return [record for batch in sink.stored() for record in batch]


def list_names(folder):
    """Return the names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def publish(sink, records, **values):
    """Open a sink, give it records, and close it. Return the stored manifest."""
    try:
        sink.open()
        return sink.publish(
            records if isinstance(records, Given) else Given(records),
            a_manifest(sink.target, **values),
        )
    finally:
        sink.close()
