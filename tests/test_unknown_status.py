"""An unknown status is sent unchanged, with one warning per call."""

import pytest
from support.parts import collect

from cekat_async import ConfigurationError, StageStatus
from cekat_async.export import export_conversations
from cekat_async.models.conversation import describe_unknown_status

KNOWN_ONES = "the known ones are assigned, resolved, pending, open"


def calls(client, status, inbox_ids, folder):
    """Return each way to read conversations, as a function without arguments."""
    rooms = client.conversations
    several = {"stage_status": status, "page_size": 20}
    return {
        "page": lambda: rooms.page(stage_status=status),
        "list": lambda: collect(rooms.list(**several)),
        "segments": lambda: collect(rooms.list(segments=3, **several)),
        "across": lambda: collect(rooms.across(inbox_ids, **several)),
        "export": lambda: export_conversations(client, folder / "x.jsonl", **several),
    }


@pytest.mark.parametrize("status", ["resolvd", StageStatus("resolvd")], ids=["text", "enumeration"])
@pytest.mark.parametrize(
    "call",
    ["page", "list", "segments", "across", "export"],
)
async def test_each_call_warns_once(client, sandbox, tmp_path, caplog, call, status):
    """The warning suggests the nearest known status, and the request is sent."""
    await calls(client, status, sandbox.inbox_ids, tmp_path)[call]()

    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warned == ["unknown status 'resolvd': did you mean 'resolved'?"]
    asked = [one.query for one in sandbox.log.requests if one.path == "/api/conversations"]
    assert all("stage_status=resolvd" in query for query in asked)
    assert asked


@pytest.mark.parametrize("status", [None, "open", *StageStatus])
async def test_a_known_status_is_no_news(client, sandbox, tmp_path, caplog, status):
    """A known status causes no warning."""
    for call in calls(client, status, sandbox.inbox_ids, tmp_path).values():
        await call()

    assert [one for one in caplog.records if one.levelname == "WARNING"] == []


async def test_a_loop_over_page_warns_once(client, caplog):
    """A loop over ``page`` causes a warning only for its first page."""
    start = (await client.conversations.page(limit=10)).next_cursor
    await client.conversations.page(stage_status="resolvd", cursor=start)

    assert caplog.records == []


@pytest.mark.parametrize("status", [7, "", b"open"])
async def test_other_types_are_errors(client, status):
    """A status that cannot be sent raises an error, without a warning."""
    with pytest.raises(ConfigurationError, match="stage_status"):
        client.conversations.list(stage_status=status)


@pytest.mark.parametrize(
    "status, said",
    [
        ("open", None),
        (StageStatus.PENDING, None),
        ("resolvd", "unknown status 'resolvd': did you mean 'resolved'?"),
        (" Assigned", "unknown status ' Assigned': did you mean 'assigned'?"),
        ("opened", "unknown status 'opened': did you mean 'open'?"),
        ("snoozed", f"unknown status 'snoozed': {KNOWN_ONES}"),
        ("\x1b[31m", f"unknown status '\\x1b[31m': {KNOWN_ONES}"),
    ],
)
def test_the_suggestion_for_a_status(status, said):
    """The warning has the nearest known status. If none is near, it lists all of them."""
    assert describe_unknown_status(status) == said
