"""Functions that build a client, or single parts of a client, with options for tests."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from cekat_async import CekatClient, RetryPolicy, Timeout
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._request.client_config import ClientConfig, build_client_config
from cekat_async._request.hooks import Hooks
from cekat_async._request.pipeline import Pipeline
from cekat_async.config import DEFAULT_MAX_PAGE_BYTES
from cekat_async.models.steps import Steps

from .scripted import ScriptedTransport, reply

T = TypeVar("T")

PATIENT = Timeout(request=None)
"""Timeouts for tests in which no call may reach its deadline."""


def make_client(server: Any, **options: Any) -> CekatClient:
    """Return a client for this server, without a rate limit and with almost no backoff."""
    quick: dict[str, Any] = {"rate_limit": None, "retry": RetryPolicy(backoff=0.001)}
    key = getattr(server, "api_key", "a-made-up-key")
    return CekatClient(key, base_url=server.base_url, **quick | options)


def make_config(
    *,
    api_key: str = "a-made-up-key",
    base_url: str = "http://127.0.0.1:1",
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen values
    timeout: Timeout = Timeout(),  # noqa: B008 - frozen values
    concurrency: int = 8,
    max_page_bytes: int = DEFAULT_MAX_PAGE_BYTES,
    trust_env: bool = False,
) -> ClientConfig:
    """Return the config of a client with these options. The environment is not read."""
    return build_client_config(
        api_key=api_key,
        base_url=base_url,
        environ={},
        retry=retry,
        timeout=timeout,
        concurrency=concurrency,
        max_page_bytes=max_page_bytes,
        trust_env=trust_env,
        allow_http=True,
    )


def make_pipeline(
    steps: Iterable[Reply | Exception | Callable[[Request], Reply]],
    *,
    limiter: Limiter | None = None,
    latency: float = 0.0,
    hooks: Hooks | None = None,
    **options: Any,
) -> tuple[Pipeline, ScriptedTransport]:
    """Return a pipeline and its transport, which answers each request with the next step."""
    transport = ScriptedTransport(steps, latency)
    config, limiter = make_config(**options), limiter or Limiter(None)
    if hooks:
        limiter.pause_listeners.add(hooks)
    return Pipeline(config, limiter, transport, hooks), transport


def in_one_step(decode: Callable[[Reply], T]) -> Callable[[Reply], Steps[T]]:
    """Wrap a function as a decoder for a pipeline. It decodes a reply in a single step."""

    def steps(answer: Reply) -> Steps[T]:
        yield from ()
        return decode(answer)

    return steps


def page_body(ids: Sequence[str], cursor: str | None = None, **changes: Any) -> bytes:
    """Return the JSON body of a page whose next cursor has the id ``cursor``."""
    pair = {"cursor_id": cursor, "cursor_ts": cursor and "2026-04-10T09:51:19.885"}
    body = {"success": True, "data": [{"id": i} for i in ids], "metadata": {"next_cursor": pair}}
    return json.dumps(body | changes).encode()


def page_reply(ids: Sequence[str], cursor: str | None = None) -> Reply:
    """Return a reply whose body is :func:`page_body` of these arguments."""
    return reply(body=page_body(ids, cursor))


async def collect(items: Any) -> list[Any]:
    """Return a list of everything that an async iterator yields."""
    return [item async for item in items]


async def collect_ids(items: Any, found: list[str]) -> None:
    """Add the id of each yielded item to ``found``, so that no id is lost if an error follows."""
    async for item in items:
        found.append(item.id)  # noqa: PERF401 - a comprehension keeps nothing when it raises
