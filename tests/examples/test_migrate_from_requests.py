"""Migrating from a script with requests: how the old and the new script handle a failure."""

from importlib.util import find_spec

import pytest

from cekat_async.sandbox import Fault

pytestmark = pytest.mark.skipif(find_spec("requests") is None, reason="the old script needs it")

FOLDER = "migrate_from_requests"


def export_with(run_example, name, **more):
    """Run one of the scripts and return its exit code and the first line that it prints."""
    ended = run_example(f"{FOLDER}/{name}", PAUSE="0", **more)
    return ended.returncode, ended.stdout.splitlines()[0]


def count_lines(folder):
    return len((folder / "conversations.jsonl").read_bytes().splitlines())


def test_both_export_everything_if_nothing_fails(run_example, account, tmp_path):
    """Without a failure, the old and the new script both write all 250 conversations."""
    for name in ("before.py", "after.py"):
        assert export_with(run_example, name) == (0, "250 conversations")
        assert count_lines(tmp_path) == 250
        (tmp_path / "conversations.jsonl").unlink()


def test_only_the_new_one_survives_a_failure(run_example, account, tmp_path):
    """After one failed request, the old script writes part of the file and reports success."""
    for name, expected in (("before.py", 100), ("after.py", 250)):
        account.fail_next(Fault.delay(0.001), Fault.status(503))

        assert export_with(run_example, name) == (0, f"{expected} conversations")
        assert count_lines(tmp_path) == expected
        account.clear_faults()
        (tmp_path / "conversations.jsonl").unlink()
