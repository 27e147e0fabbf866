"""The old records that a sink receives together with the new ones."""

from contextlib import closing
from datetime import UTC, datetime

import pytest
from support.sinks import publish

from cekat_async.export.checkpoint import Checkpoint, Job
from cekat_async.export.manifest import Filters
from cekat_async.export.publishing import MergedRecords
from cekat_async.export.sinks.files.json_lines import JsonLinesSink


@pytest.mark.parametrize(
    "record",
    [b'{"inbox_id":"X"}', b'{"id":7,"inbox_id":"X"}', b'{"id":"","inbox_id":"X"}'],
)
def test_an_old_malformed_record_belongs_to_its_inbox(tmp_path, record):
    """After a complete walk of an inbox, its old malformed records are dropped."""
    sink = JsonLinesSink(tmp_path / "x.jsonl")
    publish(sink, [record])
    checkpoint = Checkpoint(tmp_path / "x.checkpoint")
    checkpoint.open()
    checkpoint.begin(Job(account="a", target="x", filters=Filters(), began=datetime.now(UTC)), {})
    with closing(checkpoint):
        kept = MergedRecords(checkpoint, 0, lambda _: None, sink, {"another"}, lambda _: None)
        replaced = MergedRecords(checkpoint, 0, lambda _: None, sink, {"X"}, lambda _: None)

        assert dict(kept.counts) == {"X": 1}
        assert not replaced.counts
