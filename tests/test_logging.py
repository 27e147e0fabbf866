"""The package's log has few lines, contains nothing private, and is silent by default."""

import logging
import subprocess
import sys

import pytest
from support.parts import collect

from cekat_async import CekatClient, RateLimit, RetryPolicy
from cekat_async.sandbox import Fault, Faults, Quota, Sandbox

_LOG = "import cekat_async, logging; logging.getLogger('cekat_async').{}('something')"


@pytest.mark.parametrize("level", ["warning", "error"])
def test_an_application_without_logging_sees_nothing(level):
    """If the application does not set up logging, the package prints nothing."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _LOG.format(level)], capture_output=True, text=True, check=True
    )

    assert done.stderr == done.stdout == ""


def test_an_application_with_logging_sees_it(caplog):
    """Log lines reach the application's handlers, despite the package's null handler."""
    logging.getLogger("cekat_async").warning("something")

    assert caplog.messages == ["something"]


async def test_a_walk_with_retries_logs_no_warning_and_nothing_private(caplog):
    """Retries, drops and short pauses cause no warnings.

    No line has a key, a cursor or a record.
    """
    faults = Faults(drop=0.1, drop_mid_body=0.1, error=0.1, truncate=0.1, too_many=0.05, seed=1)
    quota = Quota(100, per=0.5)
    async with (
        Sandbox(600, quota=quota, faults=faults) as sandbox,
        CekatClient(
            sandbox.api_key,
            base_url=sandbox.base_url,
            rate_limit=RateLimit(1000, per=0.5),
            retry=RetryPolicy(attempts=30, backoff=0.001, backoff_max=0.01),
        ) as client,
    ):
        sandbox.fail_next(Fault.status(503, headers={"Retry-After": "0.01"}))
        sandbox.fail_next(Fault.status(429, headers={"Retry-After": "0.01"}))
        with caplog.at_level(logging.DEBUG, "cekat_async"):
            pages = await collect(client.conversations.list(page_size=20).pages())

    said = "\n".join(caplog.messages)
    assert client.traffic.retries > 10
    assert "attempt 1 failed" in said
    assert "pausing all requests" in said
    assert [r for r in caplog.records if r.name == "cekat_async" and r.levelno > logging.INFO] == []
    assert sandbox.api_key not in said
    for page in pages:
        private = (
            [page.next_cursor.cursor_id, page.next_cursor.cursor_ts] if page.next_cursor else []
        )
        for conversation in page:
            private += [conversation.id, conversation.contact_name, conversation.contact_phone]
        assert not [text for text in private if text and len(text) > 4 and text in said]
