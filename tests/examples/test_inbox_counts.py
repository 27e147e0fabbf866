"""The example that counts conversations."""

import json
from collections import Counter


def test_it_counts_each_inbox(run_example, account):
    """Each line has an inbox, a status and a number, and all numbers are right."""
    ended = run_example("inbox_counts.py")
    header, *lines = ended.stdout.splitlines()
    records = (json.loads(record) for _, record in account.records())
    expected = Counter((record["inbox_name"], record["stage_status"]) for record in records)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert header == "inbox\tstatus\tconversations"
    assert {(i, s): int(n) for i, s, n in (line.split("\t") for line in lines)} == expected
    assert len({inbox for inbox, _ in expected}) == 3
