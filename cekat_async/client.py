"""The client, which builds, owns and closes all its parts."""

from __future__ import annotations

import os
import warnings
from copy import copy
from typing import TYPE_CHECKING, Any, Self

from cekat_async._api.any_json import decode_json
from cekat_async._api.decoding import ConversationPageDecoder, InboxPageDecoder
from cekat_async._api.requests import build_request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._request.client_config import build_client_config, derive_client_config
from cekat_async._request.hooks import Hooks
from cekat_async._request.pipeline import Pipeline, Traffic
from cekat_async.config import DEFAULT_MAX_PAGE_BYTES, RateLimit, RetryPolicy, Timeout
from cekat_async.errors import ConfigurationError
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from aiohttp import ClientSession

    from cekat_async._api.requests import Params
    from cekat_async._request.client_config import ClientConfig
    from cekat_async._request.hooks import Hook
    from cekat_async._request.transport import Transport

__all__ = ["CekatClient"]


class CekatClient:
    """The asyncio client of the Cekat Conversations API.

    Use it as ``async with CekatClient() as cekat:``, or call :meth:`aclose` yourself. A client
    belongs to the event loop of its first request. Any number of tasks in that loop can share it.
    These tasks then share its rate limit too.

    Args:
        api_key: The API key. Default: the environment variable ``CEKAT_API_KEY``.
        base_url: The scheme and host of the API, with the path prefix of a gateway if there is one.
            Default: the environment variable ``CEKAT_BASE_URL``, or ``https://api.cekat.ai``.
        rate_limit: The most requests that the client sends. By default, the client starts with 300
            requests in 60 seconds (docs/api.md#limits) and then follows what the server reports.
            Pass a :class:`~cekat_async.Limiter` to share one rate among several clients. ``None``
            turns pacing off, but the client still waits for the pauses that the server asks for.
        retry: The number of retries of a failed request, and the wait before each retry. Default:
            at most 8 attempts.
        timeout: The time limits for connecting, for silence, for an attempt, for the server's part
            of a request, and for a whole call.
        concurrency: The most concurrent requests, and therefore the most connections. The client
            sends fewer requests at the same time while the server refuses that many. Default 8.
        session: Your own ``aiohttp.ClientSession``, with its connector, proxy and TLS settings.
            The client uses it unchanged and never closes it. It must have no ``auth`` of its own.
            After a lost response, the client closes the session's idle connections to the API's
            host, because a failover breaks all of them. The client checks idle connections for
            unexpected data only in its own session. Default: the client makes its own session.
        hooks: One function, or several, that receive each :class:`~cekat_async.HookEvent` of the
            client: requests, replies, retries, pauses, pages and walks. The client calls hooks in
            the event loop, so a hook must return quickly. If a hook raises an exception, the client
            logs it and continues. Default: no hooks.
        max_page_bytes: The largest page that the client accepts, in bytes after decompression. A
            page of 100 records has about 100 kB. The limit prevents a response from filling the
            memory or blocking the event loop. Default 8 MiB. The client reads at most 1 MiB of an
            error's body.
        trust_env: True to use the proxy from the environment (``HTTPS_PROXY``, ``NO_PROXY``). This
            option applies only to the client's own session. Requests to a loopback address never
            use the proxy. Default ``False``.
        allow_http: True to allow plain HTTP to a host that is not a loopback address. The client
            then sends the key unencrypted. Default ``False``.

    Attributes:
        conversations: The conversations of the account: :class:`Conversations`.
        inboxes: The inboxes of the account: :class:`Inboxes`.
        limiter: The limiter that paces the requests. Its ``snapshot()`` returns the present state.

    Raises:
        ConfigurationError: An option is wrong. The message says how to correct it.

    Examples:
        >>> async with CekatClient() as cekat:  # the key is read from CEKAT_API_KEY
        ...     async for conversation in cekat.conversations.list():
        ...         print(conversation.id)
    """

    conversations: Conversations
    inboxes: Inboxes
    limiter: Limiter

    def __init__(  # noqa: PLR0913 - each is an option with a default
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        rate_limit: RateLimit | Limiter | None = RateLimit(),  # noqa: B008 - frozen values
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008
        timeout: Timeout = Timeout(),  # noqa: B008
        concurrency: int = 8,
        session: ClientSession | None = None,
        hooks: Hook | Iterable[Hook] = (),
        max_page_bytes: int = DEFAULT_MAX_PAGE_BYTES,
        trust_env: bool = False,
        allow_http: bool = False,
    ) -> None:
        # This module imports aiohttp, which takes longer to import than everything else.
        from cekat_async._request.transport import Transport  # noqa: PLC0415

        limiter = rate_limit if isinstance(rate_limit, Limiter) else Limiter(rate_limit)
        self._config = build_client_config(
            api_key=api_key,
            base_url=base_url,
            environ=os.environ,
            retry=retry,
            timeout=timeout,
            concurrency=concurrency,
            max_page_bytes=max_page_bytes,
            trust_env=trust_env,
            allow_http=allow_http,
        )
        self._entered = False
        # If with_options() returned this client: the original client, which owns the session and
        # the hooks.
        self._parent: CekatClient | None = None
        reporter = Hooks(hooks)
        self._transport = Transport(self._config, session)
        self.limiter = limiter
        # All listings share these decoders, so the fields that a decoder learns in one listing
        # speed up the others.
        self._decoders = (ConversationPageDecoder(), InboxPageDecoder())
        self._send_through(Pipeline(self._config, limiter, self._transport, reporter))
        if reporter:
            limiter.pause_listeners.add(reporter)

    def _send_through(self, pipeline: Pipeline) -> None:
        decode_conversations, decode_inboxes = self._decoders
        self._pipeline = pipeline
        self.inboxes = Inboxes(pipeline, decode_inboxes)
        self.conversations = Conversations(pipeline, self.inboxes.list, decode_conversations)

    def with_options(
        self, *, timeout: Timeout | None = None, retry: RetryPolicy | None = None
    ) -> Self:
        """Return a client with other options that shares everything else with this client.

        Both clients share the connections, the limiter, the retry budget, ``concurrency``,
        ``traffic`` and the hooks. You need not close the new client. Closing the new client ends
        only its own calls. Closing this client ends the calls of both clients.

        Args:
            timeout: The time limits of the new client. Default ``None``: the time limits of this
                client.
            retry: The retry policy of the new client. Default ``None``: the policy of this client.
                ``retry.budget`` is ignored, because the clients share one retry budget.

        Raises:
            ConfigurationError: ``timeout`` is not a :class:`~cekat_async.Timeout`, ``retry`` is not
                a :class:`~cekat_async.RetryPolicy`, or ``retry.budget`` is neither the default nor
                the budget of this client.
            ClientClosedError: This client is closed.

        Examples:
            >>> quick = cekat.with_options(timeout=Timeout(deadline=5))
            >>> page = await quick.conversations.page()
        """
        self._pipeline.require_open()
        config = derive_client_config(self._config, timeout=timeout, retry=retry)
        derived = copy(self)
        derived._derive_from(self, config)  # noqa: SLF001 - of the same class
        return derived

    def _derive_from(self, parent: CekatClient, config: ClientConfig) -> None:
        self._parent, self._config, self._entered = parent, config, False
        self._send_through(self._pipeline.with_options(config))

    async def get(self, path: str, *, params: Params | None = None) -> Any:
        """Return the JSON of any read endpoint, as Python values.

        The client paces and retries this request, and reports it to hooks, like any other request.

        Args:
            path: The path of the endpoint on the client's host, such as ``"/api/agents"``. It
                appears in logs, events and errors, so put private data into ``params`` instead.
            params: The query, as a dict or as pairs. A value is text, a number, a bool (sent as
                ``true`` or ``false``), a date, an aware datetime, a UUID or a list. A list repeats
                its name for each element. A value of ``None`` is omitted. Default: no query.

        Raises:
            ConfigurationError: The path could lead somewhere else (it names a host, or contains
                ``..`` or a backslash), or an argument cannot be sent.
            APIStatusError: The status is not 200 (a 204 is an error too), or the reply says
                ``"success": false``.
            MalformedBodyError: The reply is not JSON, and retries did not help.
            DecodeError: The reply has more than 400,000 values, or a large list or object with more
                than 50,000 elements. Decoding such a reply would block the event loop.
            CekatError: The request failed.

        Examples:
            >>> reply = await cekat.get("/api/inboxes", params={"page": 1, "limit": 50})
            >>> len(reply["data"])
            8
        """
        request = build_request(path, params)
        if self._config.api_key.redact_text(request.path) != request.path:
            raise ConfigurationError(
                "path contains the API key. The client sends the key in a header: leave it out"
            )
        return await self._pipeline.fetch(request, decode_json)

    @property
    def hooks(self) -> Hooks:
        """The hooks of the client. Your code can emit its own events to these hooks."""
        return self._pipeline.hooks

    @property
    def traffic(self) -> Traffic:
        """The number of requests that the client has sent, and how many of them were retries."""
        return self._pipeline.traffic

    @property
    def concurrency(self) -> int:
        """The number of requests that may be in flight at the same time now.

        The number is less than the option ``concurrency`` while the server refuses that many.
        """
        return self._pipeline.present_concurrency

    @property
    def account(self) -> str:
        """A name for the account: the base URL and a fingerprint of the key.

        The same base URL and key always give the same name. The fingerprint is 48 bits of a hash,
        so it does not reveal the key.
        """
        return self._config.account

    @property
    def base_url(self) -> str:
        """The base URL in use: scheme, host, and the port and path prefix if there are any."""
        return self._config.base_url

    @property
    def proxy(self) -> str | None:
        """The environment's proxy that requests use, or ``None`` (see ``trust_env``).

        The result does not include the proxy's user name and password. The client does not know the
        proxy of your own ``session``.
        """
        return self._transport.proxy

    async def aclose(self) -> None:
        """Close the connections. Running calls and later calls raise ``ClientClosedError``.

        Your own ``session`` stays open. A client from :meth:`with_options` does not close the
        session that it shares. You may close a client twice.

        Examples:
            >>> client = CekatClient()
            >>> await client.aclose()
        """
        self._pipeline.close()
        if self._parent is None:
            self.limiter.pause_listeners.discard(self.hooks)
            await self._transport.close()

    async def __aenter__(self) -> Self:
        self._pipeline.require_open()
        if self._entered:
            raise ConfigurationError(
                "the client is already in an 'async with' block: enter it only once"
            )
        self._entered = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._pipeline.is_closed else "open"
        return f"<CekatClient of {self._config.base_url}, {state}>"

    def __del__(self) -> None:
        # If the constructor failed, there is no transport.
        transport: Transport | None = getattr(self, "_transport", None)
        if transport is not None and transport.session.is_open and self._parent is None:
            warnings.warn(
                f"{self!r} was never closed: use 'async with', or await aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
