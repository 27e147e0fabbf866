"""The script that counts the conversations of each agent."""

import json
import os
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from cekat_async.sandbox import Fault

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="a script of the shell"),
    pytest.mark.skipif(
        not (Path(sysconfig.get_path("scripts")) / "cekat").exists(),
        reason="cekat is not installed as a script",
    ),
]


def test_conversations_are_counted_for_each_agent(run_example, account):
    """Each line has a number and an agent. The largest number is first."""
    ended = run_example("agent_workload.sh", "2026-01-01")
    expected = Counter(
        json.loads(record)["handled_by_name"] or "(nobody)" for _, record in account.records()
    )
    found = [line.split(maxsplit=1) for line in ended.stdout.splitlines()]

    assert (ended.returncode, ended.stderr) == (0, "")
    assert {agent: int(number) for number, agent in found} == expected
    assert [int(number) for number, _ in found] == sorted(expected.values(), reverse=True)


def test_a_failure_is_not_taken_for_a_count(run_example, account):
    """If the conversations cannot be read, the script exits with the exit code of ``cekat``."""
    account.fail_next(Fault.status(401))
    ended = run_example("agent_workload.sh", "2026-01-01")

    assert (ended.returncode, ended.stdout) == (3, "")


def test_conversations_that_nobody_handles_are_counted_at_the_end_too(run_example, account):
    """The last conversations are counted even if no agent handles them."""
    records = b'{"id":"1","handled_by_name":"Ani"},{"id":"2"},{"id":"3","handled_by_name":null}'
    account.fail_next(Fault.raw(body=b'{"data":[' + records + b"]}"))
    ended = run_example("agent_workload.sh", "2026-01-01")

    assert [line.split() for line in ended.stdout.splitlines()] == [["2", "(nobody)"], ["1", "Ani"]]


def test_no_conversation_is_no_count(run_example, account):
    """Without a conversation, nothing is printed, and the exit code is 0."""
    account.fail_next(Fault.raw(body=b'{"data":[]}'))
    ended = run_example("agent_workload.sh", "2026-01-01")

    assert (ended.returncode, ended.stdout) == (0, "")
