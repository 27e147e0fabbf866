"""The client: builds all the parts, owns them, and closes them."""

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
    """The client of the Cekat Conversations API.

    Use it as ``async with CekatClient() as cekat:``, or call :meth:`aclose` yourself. It belongs
    to the event loop of its first request; any number of tasks of that loop may share it, and
    then share its pace.

    Args:
        api_key: The key; by default what ``CEKAT_API_KEY`` in the environment holds.
        base_url: Scheme and host, and the prefix of a gateway where there is one; by default
            ``CEKAT_BASE_URL``, or ``https://api.cekat.ai``.
        rate_limit: Requests at the most in any window. The default needs no setting: it begins
            with the documented 300 in 60 seconds and follows what the server says. A
            :class:`~cekat_async.Limiter` shares one pace among several clients; ``None`` switches
            pacing off, but not the pauses that the server asks for.
        retry: Which attempts, and the waits between them.
        timeout: The time limits for connecting, for silence, for an attempt, for the server's part
            of a request, and for a whole call.
        concurrency: Requests under way at once, and so connections, at most. The client sends fewer
            at once while the server refuses that many. Default 8.
        session: An ``aiohttp.ClientSession`` of your own, with its connector, proxy and TLS. It is
            used as it is and never closed. It must have no ``auth`` of its own. After a lost
            answer the client closes the session's idle connections to the API's host: a failover
            breaks all of them. It cannot tell whether something arrived on an idle connection
            that it did not ask for; only the client's own session checks that.
        hooks: A function, or several, that receive each :class:`~cekat_async.HookEvent` of the
            client: requests, replies, retries, pauses, pages and walks. They are called in the
            event loop and must return at once. An exception in a hook is logged, and changes
            nothing. Default none.
        max_page_bytes: The largest page that the client accepts, in bytes, unpacked. A page of
            100 records has about 100 kB. The bound keeps a response from filling the memory or
            blocking the event loop. Default 8 MiB. Of an error's body at most 1 MiB is read.
        trust_env: Use the proxy that the environment names (``HTTPS_PROXY``, ``NO_PROXY``), for a
            session of the client's own; a server on loopback is asked directly. Default off.
        allow_http: Allow plain HTTP to a host that is not loopback. The key then travels
            unencrypted. Default off.

    Raises:
        ConfigurationError: An option is wrong; the message says what to do.
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
        # It imports aiohttp, which takes longer than all the rest.
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
        # The client that this one was derived from, if any. It owns the session and the hooks.
        self._parent: CekatClient | None = None
        reporter = Hooks(hooks)
        self._transport = Transport(self._config, session)
        self.limiter = limiter
        # One of each for all listings: what they learn in one of them holds in the others.
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
        """Return a client whose calls have other options, and which shares everything else.

        ::

            quick = cekat.with_options(timeout=Timeout(deadline=5), retry=RetryPolicy(attempts=1))
            page = await quick.conversations.page()

        Both clients share the connections, the limiter, the retry budget, ``concurrency``,
        ``traffic`` and the hooks. You need not close the new one. Closing it ends its own calls
        only. Closing this client ends the calls of both.

        Args:
            timeout: The time limits of its calls; ``None`` for those of this client.
            retry: Its retry policy; ``None`` for that of this client. The budget of the policy is
                not used, because the clients share one.

        Raises:
            ConfigurationError: ``timeout`` is no :class:`~cekat_async.Timeout`, ``retry`` is no
                :class:`~cekat_async.RetryPolicy`, or its ``budget`` is neither the default nor
                that of this client.
            ClientClosedError: This client is closed.
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

        ::

            agents = await cekat.get("/api/agents", params={"limit": 50})

        The request is paced, retried and reported to hooks like every other.

        Args:
            path: The path of the endpoint on the host of the client, such as ``"/api/agents"``. It
                appears in logs, events and errors, so put private data into ``params``.
            params: The query, as a dict or as pairs. A value is text, a number, a bool (``true`` or
                ``false``), a date, an aware datetime or a UUID. A list repeats its name for each
                element. ``None`` is left out.

        Raises:
            ConfigurationError: The path could lead elsewhere (another host, ``..``, a backslash),
                or an argument cannot be sent.
            APIStatusError: The status is not 200 (so a 204 is an error, too), or the reply says
                ``"success": false``.
            MalformedBodyError: The reply is not JSON, after all retries.
            DecodeError: It has more than 400,000 values, which would block the event loop, or a
                large list or object with more than 50,000 elements.
            CekatError: The request failed.
        """
        request = build_request(path, params)
        if self._config.api_key.redact_text(request.path) != request.path:
            raise ConfigurationError(
                "path holds the API key, which the client sends in a header: leave it out"
            )
        return await self._pipeline.fetch(request, decode_json)

    @property
    def hooks(self) -> Hooks:
        """The hooks of the client. Code that is built on it emits its own events to them.

        ::

            if cekat.hooks:  # without hooks, build no event
                cekat.hooks.emit(ReportWritten(rows=1200))  # your own subclass of HookEvent
        """
        return self._pipeline.hooks

    @property
    def traffic(self) -> Traffic:
        """How many requests the client has sent, and how many of them were retries."""
        return self._pipeline.traffic

    @property
    def concurrency(self) -> int:
        """How many requests may be under way at once now: fewer while the server refuses more."""
        return self._pipeline.present_concurrency

    @property
    def account(self) -> str:
        """A name for the account that is asked: the same for the same host and key.

        It tells nothing of the key: it holds 48 bits of a hash of it.
        """
        return self._config.account

    @property
    def base_url(self) -> str:
        """Scheme, host and, where there is one, port and prefix of the API, as they are used."""
        return self._config.base_url

    @property
    def proxy(self) -> str | None:
        """The environment's proxy that requests go through, or ``None``: see ``trust_env``.

        Its user and password are not shown. The proxy of a session of your own is not known.
        """
        return self._transport.proxy

    async def aclose(self) -> None:
        """Close the connections. Calls under way fail at once, and later ones are refused.

        A session that was given to the client stays open, and so does that of a client that is
        made by :meth:`with_options`. Closing twice is no error.
        """
        self._pipeline.close()
        if self._parent is None:
            self.limiter.pause_listeners.discard(self.hooks)
            await self._transport.close()

    async def __aenter__(self) -> Self:
        self._pipeline.require_open()
        if self._entered:
            raise ConfigurationError("the client is in an 'async with' already: enter it once")
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
        # A client whose options were refused has no transport yet.
        transport: Transport | None = getattr(self, "_transport", None)
        if transport is not None and transport.session.is_open and self._parent is None:
            warnings.warn(
                f"{self!r} was never closed: use 'async with', or await aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
