"""In any sequence of exports, the target never gets worse without the option that allows it."""

import asyncio
import json
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.accounts import close_inboxes, hide_inboxes, open_inboxes, rotate_key
from support.effort import EFFORT
from support.parts import make_client

from cekat_async import (
    CheckpointError,
    ConfigurationError,
    InboxesFailedError,
    PermissionDeniedError,
    ReplacementRefusedError,
    TargetError,
)
from cekat_async.export import export_conversations, sink_for
from cekat_async.sandbox import Sandbox

INBOXES, SIZE = 3, 24
FILTERS = ("all", "by inbox", "two inboxes", "one inbox", "open")
REFUSALS = (
    CheckpointError,
    ConfigurationError,
    InboxesFailedError,
    PermissionDeniedError,
    TargetError,
)

exports = st.fixed_dictionaries(
    {
        # Most exports are the usual job, so that most sequences change that job's target.
        "account": st.sampled_from([0, 0, 0, 1]),
        "filters": st.sampled_from(["", "", "", *FILTERS]),
        "replace": st.sampled_from([False, False, True]),
        "allow_empty": st.sampled_from([False, False, True]),
        "incremental": st.booleans(),
        "restart": st.sampled_from([False, False, True]),
        "closed": st.sets(st.integers(0, INBOXES - 1), max_size=2),
        "hidden": st.sampled_from([None, None, None, 0, 2]),
        "business": st.booleans(),
        "crash": st.sampled_from([False, False, False, True]),
    }
)
events = st.tuples(
    st.sampled_from(["rotate", "create", "touch", "resolve", "delete", "empty", "edit", "forget"]),
    st.integers(0, SIZE),
)


@dataclass
class TargetModel:
    """The content of a target according to the model."""

    account: int
    filters: str
    ids: set = field(default_factory=set)


class Model:
    """Two accounts, a target, and the expected content of the target."""

    def __init__(self, accounts, target, usual):
        self.accounts = accounts
        self.target = target
        self.usual = usual
        self.expected = None
        self.ever = [set(), set()]
        self.keys = 0
        self.is_edited = False

    @property
    def manifest(self):
        return Path(f"{self.target}.manifest.json")

    def content(self):
        return [
            path.read_bytes() if path.exists() else None for path in (self.target, self.manifest)
        ]

    def ids_in_target(self):
        if not self.target.exists():
            return set()
        lines = [line for batch in sink_for(self.target).stored() for line in batch]
        ids = {json.loads(line)["id"] for line in lines}
        assert len(ids) == len(lines), "a conversation is there twice"
        return ids

    def arguments(self, number, filters):
        inboxes = self.accounts[number].inbox_ids
        return {
            "all": {},
            "by inbox": {"by_inbox": True},
            "two inboxes": {"inbox_ids": inboxes[:2]},
            "one inbox": {"inbox_ids": inboxes[:1]},
            "open": {"stage_status": "open"},
        }[filters]

    def matching(self, number, filters):
        """Return the conversations of an account that the filters select, with their inboxes."""
        inboxes = self.accounts[number].inbox_ids
        wanted = {"two inboxes": inboxes[:2], "one inbox": inboxes[:1]}.get(filters, inboxes)
        records = [json.loads(record) for _, record in self.accounts[number].records()]
        self.ever[number] |= {one["id"] for one in records}
        return {
            one["id"]: one["inbox_id"]
            for one in records
            if one["inbox_id"] in wanted and (filters != "open" or one["stage_status"] == "open")
        }

    async def happen(self, event, number):
        sandbox = self.accounts[0]
        self.matching(0, "all")
        ids = [id_ for id_, _ in sandbox.records()]
        if event == "rotate":
            self.keys += 1
            rotate_key(sandbox, f"key-{self.keys}")
        elif event == "create":
            sandbox.create()
        elif event == "empty":
            for id_ in ids:
                sandbox.delete(id_)
        elif event == "edit" and self.target.exists():
            self.target.write_bytes(self.target.read_bytes() + b'{"id":"of an editor"}\n')
            self.expected.ids.add("of an editor")
            self.is_edited = True
        elif event == "forget":
            self.manifest.unlink(missing_ok=True)
        elif ids and event in {"touch", "resolve", "delete"}:
            getattr(sandbox, event)(ids[number % len(ids)])

    async def export(self, job):
        """Run an export, and return the error with which it was refused, or None."""
        number, filters = job["account"], job["filters"] or self.usual
        sandbox = self.accounts[number]
        sandbox.forbid()
        open_inboxes(sandbox)
        walks_inboxes = filters in {"by inbox", "one inbox", "two inboxes"}
        closed = {sandbox.inbox_ids[one] for one in job["closed"]} if walks_inboxes else set()
        if closed:
            sandbox.forbid(*closed)
        hidden = set()
        if filters == "by inbox" and job["hidden"] is not None:
            hidden = {sandbox.inbox_ids[job["hidden"]]}
            hide_inboxes(sandbox, *hidden)
        elif not job["business"] and filters != "by inbox":
            close_inboxes(sandbox)
        options = {name: job[name] for name in ("replace", "allow_empty", "incremental", "restart")}
        before, old = self.content(), self.expected
        had_manifest = before[1] is not None
        try:
            async with make_client(sandbox) as client:
                report = await export_conversations(
                    client,
                    self.target,
                    page_size=5,
                    account="the account",
                    on_progress=(lambda _: 1 // 0) if job["crash"] else None,
                    **options,
                    **self.arguments(number, filters),
                )
        except (ZeroDivisionError, *REFUSALS) as error:
            assert self.content() == before, "a failure has changed the target"
            if type(error) is TargetError:
                assert self.is_edited
                assert job["incremental"]
                assert not job["replace"]
            return error
        # Without a manifest, an inbox that is not listed is unknown and cannot fail.
        failed = closed | hidden if had_manifest else closed - hidden
        missing = closed | hidden
        self.check(report, number, filters, options, missing, failed, old, had_manifest)
        return None

    def check(self, report, number, filters, options, missing, failed, old, had_manifest):
        """Compare the target with the model."""
        now, there = self.ids_in_target(), self.matching(number, filters)
        reachable = {id_ for id_, inbox in there.items() if inbox not in missing}
        assert now >= reachable, "conversations are missing"
        own = self.ever[number] | {"of an editor"}
        if old is None or not had_manifest:
            same = other_filters = False
        else:
            same = (old.account, old.filters) == (number, filters)
            # The first two inboxes of another account are other filters, because their ids differ.
            arguments = self.arguments(number, filters)
            other_filters = self.arguments(old.account, old.filters) != arguments
            was_empty = not old.ids and not other_filters
            assert same or was_empty or options["replace"], "something else has taken the place"
        assert now <= own, "there is something of another account"
        if old is not None and not options["replace"]:
            lost = old.ids - now - {"of an editor"}
            if had_manifest:
                assert not lost & there.keys(), "conversations were lost"
            elif failed:
                assert not lost or not old.ids, "a partial export has taken the place"
        if old is not None and old.ids and not now:
            assert options["allow_empty"] or (options["replace"] and other_filters)
        assert report.manifest.conversations == len(now)
        assert report.is_complete == all(one.error is None for one in report.manifest.partitions)
        for one in report.manifest.partitions:
            assert (one.as_of is not None) == (one.carried > 0)
            assert one.error is not None or not one.carried
        self.expected = TargetModel(number, filters, now)
        self.is_edited = False

    async def step(self, step):
        if isinstance(step, tuple):
            await self.happen(*step)
            return
        error = await self.export(step)
        # The refusals must name the right options: with those options, the same call succeeds.
        allowed = set()
        while isinstance(error, ReplacementRefusedError):
            assert error.option not in allowed, f"refused although {error.option} was given"
            assert not step[error.option]
            allowed.add(error.option)
            step = step | {error.option: True, "restart": False}
            error = await self.export(step)


async def run(steps, usual):
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            accounts = [
                await stack.enter_async_context(
                    Sandbox(SIZE, INBOXES, seed, quota=None, api_key=f"key-of-{seed}")
                )
                for seed in (1, 2)
            ]
            model = Model(accounts, Path(folder) / "x.jsonl", usual)
            for step in steps:
                await model.step(step)


@pytest.mark.timeout(0 if EFFORT > 1 else 300)
@settings(max_examples=25 * EFFORT)
@given(usual=st.sampled_from(FILTERS), steps=st.lists(exports | exports | events, max_size=7))
def test_a_target_is_never_worse_without_the_option_for_it(usual, steps):
    """The target never gets worse in any sequence of exports, failures, options and accounts.

    Without the matching option, the target never loses a conversation that still exists, never
    contains a conversation of another account, and is never replaced by an export with other
    filters. A refusal changes nothing, and names the option with which the same call succeeds.
    """
    asyncio.run(run(steps, usual))
