"""The shortest example."""

import json
from pathlib import Path


def test_it_prints_the_pending_conversations(run_example, account):
    """Each pending conversation is on one line: its id, its inbox and its contact."""
    ended = run_example("ten_lines.py")
    records = [json.loads(record) for _, record in account.records()]
    pending = [record for record in records if record["stage_status"] == "pending"]

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        f"{record['id']} {record['inbox_name']} {record['contact_name']}" for record in pending
    ]
    assert pending


def test_it_has_about_ten_lines():
    """The example is as short as its name says."""
    source = Path(__file__).parents[2] / "examples" / "ten_lines.py"

    assert len([line for line in source.read_text().splitlines() if line]) <= 10
