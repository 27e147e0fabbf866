"""The checks of ``cekat doctor`` that need the server. They send a single request.

The request takes the same path as any other request. If it fails, the class of the error shows
which step failed. All earlier steps worked.
"""

from __future__ import annotations

import asyncio
import re
import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from cekat_async import (
    CekatClient,
    CekatError,
    ConfigurationError,
    MalformedRecord,
    errors,
)
from cekat_async.cli.client_factory import open_client
from cekat_async.cli.commands.doctor.findings import Finding, State, fail, skip
from cekat_async.cli.exit_codes import ExitCode
from cekat_async.cli.formatting import describe_malformed, format_duration, format_rate, pluralize
from cekat_async.config import DEFAULT_BASE_URL
from cekat_async.redaction import Secret, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cekat_async import ConversationPage, LimiterSnapshot
    from cekat_async.cli.connection import Connection

__all__ = ["check_server"]

# The steps of a request, in the order in which they happen.
_STEPS = ("proxy", "DNS", "TCP", "TLS", "access", "quota", "page", "clock")
_NETWORK = ("proxy", "DNS", "TCP", "TLS")
# The errors of a request, each with the step that failed. The first class that matches counts.
_FAILED_AT: Sequence[tuple[type[CekatError], str]] = (
    (errors.ProxyError, "proxy"),
    (errors.UnknownHostError, "DNS"),
    (errors.TLSError, "TLS"),
    (errors.NotSentError, "TCP"),
    (errors.AuthenticationError, "access"),
    (errors.PermissionDeniedError, "access"),
    (errors.RateLimitError, "quota"),
    (errors.CekatError, "page"),
)
_TOLERANCE = 5.0  # the allowed difference of the clocks in seconds; the header has whole seconds
_ADDRESSES_SHOWN = 2
_LONGEST_HEADERS = 300  # the maximum length of the shown rate-limit headers, in characters
_ADDRESS = re.compile(r"[\d.]+|.*:.*")


class _Reply(NamedTuple):
    """The requested page, and the time at which it was received."""

    page: ConversationPage
    malformed: Sequence[MalformedRecord]
    received: datetime
    seconds: float


async def check_server(connection: Connection) -> list[Finding]:
    """Return the findings about the key, the connection to the server, and its reply."""
    key = str(connection.key)
    findings: list[Finding] = []
    try:
        findings.append(Finding("key", _check_key(connection)))
        findings.append(Finding("host", _check_url(connection)))
        async with open_client(connection) as client:
            return findings + _hide_key(await _ask(client, key), connection)
    except ConfigurationError as error:
        # The error is about the first topic without a finding. The only step of a request that can
        # fail here is the proxy, if its URL in the environment is invalid.
        topic, *rest = ("key", "host", *_STEPS)[len(findings) :]
        return [*findings, fail(topic, error, key), *map(skip, rest)]


def _hide_key(findings: list[Finding], connection: Connection) -> list[Finding]:
    """Remove the key from the findings. A server may send the key back as the name of a field."""
    if connection.sandbox:
        return findings
    secret = Secret(connection.key.read())
    return [one._replace(text=secret.redact_text(one.text)) for one in findings]


def _check_key(connection: Connection) -> str:
    if connection.sandbox:
        return "that of the sandbox"
    # Creating a client checks the key. Use the default URL here, because the URL of the connection
    # may be wrong, too.
    CekatClient(connection.key.read(), base_url=DEFAULT_BASE_URL)
    return f"there is one in {connection.key}"


def _check_url(connection: Connection) -> str:
    if connection.sandbox:
        return "the sandbox"
    client = CekatClient(
        connection.key.read(), base_url=connection.base_url, allow_http=connection.allow_http
    )
    return client.base_url


async def _ask(client: CekatClient, key: str) -> list[Finding]:
    """Request one page, and return a finding about each step."""
    url = urlsplit(client.base_url)
    try:
        reply = await _request_page(client)
    except CekatError as error:
        return await _explain(client, url, error, key)
    return [
        *[await _describe_step(step, client, url) for step in _NETWORK],
        Finding("access", "the server accepts the key"),
        _describe_quota(client.limiter.snapshot(), _get_headers(reply.page)),
        _check_page(reply),
        _check_clock(reply),
    ]


async def _request_page(client: CekatClient) -> _Reply:
    malformed = list[MalformedRecord]()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    page = await client.conversations.page(limit=1, on_malformed=malformed.append)
    return _Reply(page, malformed, datetime.now(UTC), loop.time() - begun)


async def _explain(
    client: CekatClient, url: SplitResult, error: CekatError, key: str
) -> list[Finding]:
    """Return a finding for each step: it worked, failed with the error, or was not reached."""
    failed = next(step for kind, step in _FAILED_AT if isinstance(error, kind))
    if client.proxy and failed in {"DNS", "TCP"}:
        failed = "proxy"  # the proxy is the only host that the client connects to
    findings = list[Finding]()
    for step in _STEPS:
        if step == failed:
            findings.append(_describe_failure(step, error, key))
        elif step in _NETWORK and _STEPS.index(step) < _STEPS.index(failed):
            findings.append(await _describe_step(step, client, url))
        else:
            findings.append(skip(step))
    return findings


def _describe_failure(step: str, error: CekatError, key: str) -> Finding:
    finding = fail(step, error, key)
    if step == "TLS" and any(word in finding.text for word in ("expired", "not yet valid")):
        # Perhaps the certificate is valid, and the clock of this machine is wrong.
        return finding._replace(text=f"{finding.text}. Check this machine's clock as well")
    if step == "proxy" and not isinstance(error, errors.ProxyError):
        text = f"{error.describe()}: check the proxy in the environment, and the network"
        return finding._replace(text=text)
    return finding


async def _describe_step(step: str, client: CekatClient, url: SplitResult) -> Finding:
    """Return the finding about a step of the connection that succeeded."""
    if step == "DNS":
        return await _describe_dns(client, url)
    describe = {"proxy": _describe_proxy, "TCP": _describe_tcp, "TLS": _describe_tls}[step]
    return describe(client, url)


def _describe_proxy(client: CekatClient, url: SplitResult) -> Finding:
    variable = f"{url.scheme.upper()}_PROXY"
    if client.proxy:
        return Finding("proxy", f"{client.proxy}, from {variable}")
    if url.scheme in getproxies():
        text = f"none: {variable} is not used for this host (NO_PROXY, or it is this machine)"
        return Finding("proxy", text)
    return Finding("proxy", f"none: {variable} is not set")


def _describe_tcp(client: CekatClient, url: SplitResult) -> Finding:
    if client.proxy:
        return Finding("TCP", "connected to the proxy")
    return Finding("TCP", f"connected to port {_get_port(url)}")


def _describe_tls(_: CekatClient, url: SplitResult) -> Finding:
    if url.scheme == "https":
        return Finding("TLS", "the server's certificate is trusted")
    return skip("TLS", "not used: the URL begins with http://")


async def _describe_dns(client: CekatClient, url: SplitResult) -> Finding:
    if client.proxy:
        return skip("DNS", "not needed: the proxy looks up the host")
    if _ADDRESS.fullmatch(url.hostname or ""):
        return skip("DNS", f"not needed: {url.hostname} is an address")
    return Finding("DNS", await _resolve(url))


async def _resolve(url: SplitResult) -> str:
    """Return a host's addresses, which may reveal that the machine is in the wrong network."""
    host = url.hostname or ""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, _get_port(url), type=socket.SOCK_STREAM)
    except OSError:  # unexpected, because the host was found a moment ago
        return f"{host} was found"
    addresses = [*dict.fromkeys(str(address[0]) for *_, address in found)]
    more = len(addresses) - _ADDRESSES_SHOWN
    shown = ", ".join(addresses[:_ADDRESSES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{host} is {shown}"


def _get_port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _describe_quota(limiter: LimiterSnapshot, headers: Mapping[str, str]) -> Finding:
    stated = (f"{name}: {value}" for name, value in headers.items() if _is_quota(name))
    reason = one_line(", ".join(stated), _LONGEST_HEADERS) or "the server states none"
    if limiter.limit is None:
        return Finding("quota", f"requests are not paced, because of --rate-limit off ({reason})")
    rate = format_rate(limiter.limit, limiter.per)
    left = "" if limiter.remaining is None else f", {limiter.remaining:,} left"
    return Finding("quota", f"{rate}, {limiter.source}{left} ({reason})")


def _is_quota(header: str) -> bool:
    return "ratelimit" in header.lower().replace("-", "")


def _check_page(reply: _Reply) -> Finding:
    page = reply.page
    decoded = pluralize(len(page), "conversation")
    for record in reply.malformed:
        text = f"{describe_malformed(record)}. Exports keep it unchanged: tell the API's support"
        return Finding("page", text, State.FAILED, ExitCode.API_FAILED)
    parts = [f"{decoded} decoded in {reply.seconds:.2f} s"]
    if page.unknown_fields:
        parts.append(f"unknown fields: {', '.join(page.unknown_fields)}")
    if page.mistyped_fields:
        parts.append(f"mistyped fields: {', '.join(page.mistyped_fields)}")
    return Finding("page", "; ".join([*parts, "no malformed record"]))


def _check_clock(reply: _Reply) -> Finding:
    """Compare the clocks of the server and of this machine."""
    try:
        served = parsedate_to_datetime(_get_headers(reply.page).get("date", ""))
    except ValueError:
        return skip("clock", "not checked: the server does not send its time")
    # The server wrote its time, in whole seconds, between the request and the reply.
    ahead = (reply.received - served).total_seconds()
    if -_TOLERANCE <= ahead <= _TOLERANCE + reply.seconds:
        return Finding("clock", f"within {_TOLERANCE:g} s of the server's")
    off = f"{format_duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the server's"
    text = f"this machine's is {off}: synchronize it, for example with NTP"
    return Finding("clock", text, State.FAILED, ExitCode.USAGE)


def _get_headers(page: ConversationPage) -> Mapping[str, str]:
    """Return the headers of the page's reply, by their names in lower case."""
    return {} if page.response is None else page.response.headers
