"""Whatever a server sends, nothing private is in spans, metrics, events or logs."""

import json
import logging
import re
from contextlib import asynccontextmanager

import pytest
from support.otel import account
from support.rawserver import RawServer, http

from cekat_async import CekatClient, CekatError, RateLimit, RetryPolicy
from cekat_async.export import export_conversations
from cekat_async.sandbox import Fault

KEY = "kx7-Zq+9-t0p-S3cret-and-more"
PRIVATE = {
    "name": "Siti Rahayu",
    "phone": "6281234567890",
    "message": "my card number is 4111",
    "cursor": "c0ffee-cursor-of-siti",
    "time": "2026-04-10T09:51:19.885",
}


@pytest.fixture
def seen(recorded):
    """A function that returns, as text, everything that was recorded, logged or given to hooks."""
    lines = []
    handler = logging.Handler(logging.DEBUG)
    handler.addFilter(lambda record: "sandbox" not in record.name)
    handler.emit = lambda record: lines.append(f"{record.getMessage()} {record.__dict__}")
    logger = logging.getLogger("cekat_async")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

    def seen():
        spans = [span.to_json() for span in recorded.spans]
        return "\n".join([*spans, recorded.metrics_json, *map(repr, recorded.events), *lines])

    yield seen
    logger.removeHandler(handler)
    logger.setLevel(level)


def find_texts(value):
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from find_texts(one)


# These texts of records are no secret: ids of inboxes, and terms of the API.
HARMLESS = re.compile(r"(whatsapp|instagram|web|email|\w{1,12}|true|false|null)?")


async def test_an_account_with_customers(recorded, seen, tmp_path):
    """The telemetry of a walk and an export has no text of a record, no id and no cursor."""
    async with account(
        300, 3, hooks=[recorded.hook, recorded.keep], retry=RetryPolicy(backoff=0.001)
    ) as (sandbox, client):
        recorded.hook.observe(client)
        sandbox.fail_next(Fault.status(503), Fault.status(429, headers={"Retry-After": "0.01"}))
        await client.conversations.list().collect()
        sandbox.fail_next(Fault.truncate(), Fault.drop_mid_body())
        await export_conversations(client, tmp_path / "x.jsonl", by_inbox=True)
        secrets = {sandbox.api_key}
        for _, record in sandbox.records():
            values = json.loads(record)
            secrets |= {
                text
                for name, value in values.items()
                if name not in {"inbox_id", "business_id"}
                for text in find_texts(value)
                if not HARMLESS.fullmatch(text)
            }
        for request in sandbox.log.requests:
            secrets |= set(re.findall(r"cursor_\w+=([^&]+)", request.query))

    text = seen()
    assert len(secrets) > 1000
    assert len(text) > 20_000
    assert [secret for secret in secrets if secret in text] == []


def hostile(head):
    """Echo the key and a customer's data in every place of a reply, with any status."""
    key = re.search(rb"(?i)authorization: bearer (.*)\r\n", head)[1].decode()
    private = " ".join([key, *PRIVATE.values()])
    number = hostile.count = (hostile.count + 1) % 6
    error = {"message": private, "code": private, "details": [{private: private}]}
    record = {"id": PRIVATE["phone"], "contact_name": private, private: private, "labels": private}
    cursor = {"cursor_id": PRIVATE["cursor"] + str(number), "cursor_ts": PRIVATE["time"]}
    page = {"success": True, "data": [record, private], "metadata": {"next_cursor": cursor}}
    failed = {"success": False, "status_code": 418, "error": error}
    headers = {"Server": private, "X_RateLimit_Limit": private, "X_Private": private}
    bodies = [
        (200, json.dumps(page)),
        (500, json.dumps(failed)),
        (503, f"<html>{private}</html>"),
        (429, json.dumps(failed)),
        (200, json.dumps(failed)),
        (200, json.dumps(page)[:-30]),
    ]
    status, body = bodies[number]
    extra = {"Retry_After": "0.001"} if status == 429 else {}
    return http(body.encode(), status, **headers, **extra)


hostile.count = 0


@asynccontextmanager
async def hostile_client(recorded):
    policy = RetryPolicy(attempts=3, backoff=0.001)
    async with (
        RawServer(hostile) as server,
        CekatClient(
            KEY,
            base_url=server.base_url,
            hooks=[recorded.hook, recorded.keep],
            retry=policy,
            rate_limit=RateLimit(10_000, 60),
        ) as client,
    ):
        yield client


async def test_a_hostile_server(recorded, seen, tmp_path):
    """If a server echoes the key and private data everywhere, neither of them is reported."""
    failures = 0
    async with hostile_client(recorded) as client:
        recorded.hook.observe(client)
        uses = [
            client.conversations.page,
            client.inboxes.page,
            client.conversations.list(on_malformed=lambda _: None).collect,
            lambda: export_conversations(client, tmp_path / "x.jsonl"),
            lambda: export_conversations(client, tmp_path / "y.jsonl", by_inbox=True),
        ]
        for use in uses * 6:
            try:
                await use()
            except CekatError:
                failures += 1

    text = seen()
    assert failures > 10
    assert len(text) > 20_000
    for what, secret in {"key": KEY, **PRIVATE}.items():
        assert secret not in text, what
