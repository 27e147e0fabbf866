"""Checks before an export: the arguments, the starts of walks, and what can be resumed."""

import json

import msgspec
import pytest
from support.sinks import MOMENT, a_manifest

from cekat_async import CheckpointError, ConfigurationError, Position, StageStatus
from cekat_async.export.accounts import find_inboxes
from cekat_async.export.checkpoint import Job
from cekat_async.export.checks import (
    build_filters,
    can_resume,
    require_same_export,
    require_same_filters,
    start_positions,
)
from cekat_async.export.manifest import Filters, Partition
from cekat_async.sandbox import Fault

WALKED = Position.from_bytes(
    b'{"stage":"settled","order":-1,"by_activity":1,'
    b'"watermark":{"cursor_id":"an id","cursor_ts":"2026-04-10T07:04:55.465"}}'
)
LATER = MOMENT.replace(year=2027)


def get_message(caught):
    """Return the message of an error, and check that the message is one line."""
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "inbox_ids, stage_status, by_inbox, filters",
    [
        ((), None, False, Filters()),
        ([], "resolved", False, Filters(stage_status="resolved")),
        (iter(["b", "a", "b"]), None, False, Filters(inbox_ids=("b", "a"))),
        ({"a": 1}, None, False, Filters(inbox_ids=("a",))),
        ((), None, True, Filters(by_inbox=True)),
        ((), "open", True, Filters(by_inbox=True, stage_status="open")),
    ],
)
def test_filters(inbox_ids, stage_status, by_inbox, filters):
    """Inboxes keep their order, and each is listed once. A filter that was not given is absent."""
    assert build_filters(inbox_ids, stage_status, by_inbox=by_inbox) == filters


@pytest.mark.parametrize("status", list(StageStatus))
def test_a_status_of_the_enumeration_equals_its_text(status):
    """``StageStatus`` and its text make the same filter, even after encoding and decoding."""
    filters = build_filters((), status, by_inbox=False)

    assert filters == build_filters((), status.value, by_inbox=False)
    assert type(filters.stage_status) is str
    assert msgspec.json.decode(msgspec.json.encode(filters), type=Filters) == filters


@pytest.mark.parametrize(
    "inbox_ids, stage_status, by_inbox, message",
    [
        ("ab", None, False, "inbox_ids must be a list, not one text: write ['ab']"),
        (["a", ""], None, False, "each of inbox_ids must be text that is not blank, not ''"),
        ([" "], None, False, "each of inbox_ids must be text that is not blank, not ' '"),
        ([7], None, False, "each of inbox_ids must be text that is not blank, not 7"),
        ([None], None, False, "each of inbox_ids must be text that is not blank, not None"),
        (["a"], None, True, "by_inbox means all inboxes: leave it out, or inbox_ids"),
        ((), "", False, "stage_status must be text that is not blank, not ''"),
        ((), " ", False, "stage_status must be text that is not blank, not ' '"),
        ((), 7, False, "stage_status must be text that is not blank, not 7"),
    ],
)
def test_filters_that_make_no_sense(inbox_ids, stage_status, by_inbox, message):
    """A one-line error names the wrong filter, and says what is wrong or what to write instead."""
    with pytest.raises(ConfigurationError) as caught:
        build_filters(inbox_ids, stage_status, by_inbox=by_inbox)

    assert get_message(caught) == message


async def test_the_listings_that_are_walked(account):
    """All conversations are one listing.

    Each named inbox is one listing. With ``by_inbox``, each inbox of the account is one listing.
    """
    reported = []
    async with account(30) as a:
        assert await find_inboxes(a.client, Filters(), reported.append) == ([None], None)
        named = Filters(inbox_ids=("b", "a"))
        assert await find_inboxes(a.client, named, reported.append) == (["b", "a"], None)
        assert a.sandbox.log.requests == []
        found, business_id = await find_inboxes(a.client, Filters(by_inbox=True), reported.append)
        assert sorted(found) == sorted(a.sandbox.inbox_ids)
        assert {json.loads(one)["business_id"] for _, one in a.sandbox.inbox_records()} == {
            business_id
        }
    assert reported == []


async def test_a_malformed_inbox_is_walked_if_it_has_an_id(account):
    """A malformed inbox is walked like any other if it has an id. Otherwise it is reported."""
    body = b'{"success":true,"data":[{"id":"a"},{"id":"b","name":NaN},{"name":"x"}]}'
    reported = []
    async with account(0) as a:
        a.sandbox.fail_next(Fault.raw(body=body))
        found, business_id = await find_inboxes(a.client, Filters(by_inbox=True), reported.append)

    assert sorted(found) == ["a", "b"]
    assert business_id == ""
    assert [record.raw for record in reported] == [b'{"name":"x"}']


def test_without_an_earlier_export_walks_begin_at_the_front():
    """Without an earlier export, each listing is read completely, in the given order."""
    assert start_positions([None], None) == {None: Position()}
    assert list(start_positions(["b", "a"], None).items()) == [("b", Position()), ("a", Position())]


def test_walks_start_after_those_of_the_earlier_export():
    """A walk ends where the earlier walk of the same listing began."""
    base = a_manifest(
        partitions=(
            Partition(inbox_id="walked", position=WALKED),
            Partition(inbox_id="failed", position=WALKED, error="HTTP 404"),
            Partition(inbox_id="no longer there", position=WALKED),
            Partition(inbox_id="nowhere"),
        )
    )
    positions = start_positions(["new", "walked", "failed", "nowhere"], base)

    assert list(positions) == ["new", "walked", "failed", "nowhere"]
    assert positions.pop("walked") == WALKED.since() != Position()
    # The walk of a failed listing did not reach its end, so the next walk may not skip any page.
    assert set(positions.values()) == {Position()}


def a_job(**values):
    return Job(
        **{"account": "an account", "target": "a target", "filters": Filters(), "began": MOMENT}
        | values
    )


def test_the_same_export_is_accepted():
    """A job can be resumed at another time and by another version."""
    require_same_export(a_job(), a_job(began=LATER, version="another"), "a checkpoint")
    require_same_export(a_job(adds_to=MOMENT), a_job(adds_to=MOMENT, began=LATER), "a checkpoint")
    require_same_export(a_job(account="a"), a_job(account="b"), "a checkpoint")  # checked elsewhere


@pytest.mark.parametrize(
    "found, wanted, message",
    [
        (
            {"target": "x.csv"}, {}, "another target (x.csv; this is a target)",
        ),
        (
            {"filters": Filters(stage_status="open")}, {"filters": Filters(inbox_ids=("a", "b"))},
            "an export with other filters (all inboxes, status open; this is inboxes a, b)",
        ),
        (
            {"filters": Filters(by_inbox=True)}, {},
            "an export with other filters (each inbox by itself; this is all inboxes)",
        ),
    ],
)  # fmt: skip
def test_another_export_is_refused(found, wanted, message):
    """The error says how the export differs from the unfinished one, and what to do."""
    with pytest.raises(CheckpointError) as caught:
        require_same_export(a_job(**found), a_job(**wanted), "a/checkpoint")

    assert get_message(caught) == (
        f"the checkpoint a/checkpoint belongs to {message}: "
        "finish that export with its own options, or start over with restart=True"
    )


@pytest.mark.parametrize(
    "filters, message",
    [
        (Filters(inbox_ids=("a",)), "all inboxes; this is inboxes a"),
        (Filters(stage_status="open"), "all inboxes; this is all inboxes, status open"),
        (
            Filters(stage_status="opne"),
            (
                "all inboxes; this is all inboxes, status opne; unknown status 'opne': "
                "did you mean 'open'?"
            ),
        ),
    ],
)
def test_a_target_with_other_filters_cannot_be_added_to(filters, message):
    """The error names the filters of both exports and says what to do."""
    with pytest.raises(ConfigurationError) as caught:
        require_same_filters(a_manifest("x.jsonl"), filters)

    assert get_message(caught) == (
        f"x.jsonl holds an export with other filters ({message}): it cannot be updated. "
        "Export everything again with incremental=False"
    )


@pytest.mark.parametrize(
    "found, wanted, expected",
    [
        ({}, {}, True),
        ({}, {"adds_to": MOMENT}, True),
        ({"adds_to": MOMENT}, {"adds_to": MOMENT}, True),
        ({"adds_to": MOMENT}, {}, False),
        ({"adds_to": MOMENT}, {"adds_to": LATER}, False),
    ],
)
def test_which_unfinished_exports_can_be_resumed(found, wanted, expected):
    """A full export can be resumed as an incremental one.

    An incremental export can be resumed only as the same incremental export.
    """
    assert can_resume(a_job(**found), a_job(**wanted)) is expected
