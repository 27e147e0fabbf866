"""Tests of the reminders, with the fixtures of cekat-async."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from reminders import TryLaterError, write_reminders

if TYPE_CHECKING:
    from cekat_async import CekatClient
    from cekat_async.sandbox import FaultInjector, Sandbox

# The sandbox has only the conversations that each test adds.
pytestmark = pytest.mark.cekat_sandbox(conversations=0)


async def test_agents_are_reminded_of_their_customers(
    cekat_sandbox: Sandbox, cekat_client: CekatClient
) -> None:
    """Each agent is reminded of open conversations and of no others."""
    budi = cekat_sandbox.add(contact_name="Budi")
    cekat_sandbox.assign(budi, "Dewi")
    cekat_sandbox.add(contact_name="Sari", stage_status="resolved")

    assert await write_reminders(cekat_client) == {"Dewi": ["Budi"]}


async def test_a_customer_without_a_name_is_not_forgotten(
    cekat_sandbox: Sandbox, cekat_client: CekatClient
) -> None:
    """A missing name is not an error."""
    cekat_sandbox.add(contact_name=None, stage_status="assigned", handled_by_name="Dewi")

    assert await write_reminders(cekat_client) == {"Dewi": ["somebody"]}


async def test_short_failures_do_not_matter(
    cekat_sandbox: Sandbox, cekat_client: CekatClient, cekat_faults: FaultInjector
) -> None:
    """The client retries a refused request and a dropped connection."""
    cekat_sandbox.add(contact_name="Budi", stage_status="assigned", handled_by_name="Dewi")
    cekat_faults.status(429, retry_after=0)
    cekat_faults.drop_connection()

    assert await write_reminders(cekat_client) == {"Dewi": ["Budi"]}
    assert cekat_client.traffic.retries == 2


async def test_a_used_up_daily_quota_says_when_to_come_back(
    cekat_client: CekatClient, cekat_faults: FaultInjector
) -> None:
    """The error has the time at which the API accepts requests again."""
    cekat_faults.exhaust_daily_quota(7200)

    with pytest.raises(TryLaterError) as caught:
        await write_reminders(cekat_client)
    assert caught.value.at > datetime.now(UTC) + timedelta(hours=1)
