"""Checks all options of one client, including its key and its base URL."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import msgspec

from cekat_async.config import (
    DEFAULT_BASE_URL,
    DEFAULT_MAX_PAGE_BYTES,
    RetryPolicy,
    Timeout,
    is_host,
    is_loopback,
    require_count,
    require_switch,
    require_text,
)
from cekat_async.errors import ConfigurationError
from cekat_async.redaction import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ClientConfig", "build_client_config", "derive_client_config"]

_KEY_VARIABLE = "CEKAT_API_KEY"
_BASE_URL_VARIABLE = "CEKAT_BASE_URL"

_OWN_PATH = re.compile(r"/api(/+(conversations|inboxes)\b.*)?$")


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The checked options of one client. The ``repr`` does not show the key."""

    api_key: Secret
    base_url: str
    retry: RetryPolicy
    timeout: Timeout
    concurrency: int
    max_page_bytes: int
    trust_env: bool

    @property
    def account(self) -> str:
        """A name for the account: the base URL, and the first digits of a hash of the key."""
        digest = blake2b(self.api_key.reveal().encode(), digest_size=6, person=b"cekat_async")
        return f"{self.base_url} #{digest.hexdigest()}"


def build_client_config(
    *,
    api_key: str | None,
    base_url: str | None,
    environ: Mapping[str, str],
    retry: RetryPolicy,
    timeout: Timeout,
    concurrency: int,
    trust_env: bool,
    allow_http: bool,
    max_page_bytes: int = DEFAULT_MAX_PAGE_BYTES,
) -> ClientConfig:
    """Check the options and return them. ``environ`` supplies a key or base URL that is ``None``.

    Raises:
        ConfigurationError: An option is missing or wrong.
    """
    require_switch("allow_http", allow_http)
    return ClientConfig(
        api_key=_parse_key(api_key if api_key is not None else environ.get(_KEY_VARIABLE)),
        base_url=_parse_base_url(
            # An empty argument is a mistake. An empty variable counts as not set.
            (environ.get(_BASE_URL_VARIABLE) or DEFAULT_BASE_URL) if base_url is None else base_url,
            allow_http=allow_http,
        ),
        retry=_require_retry(retry),
        timeout=_require_timeout(timeout),
        concurrency=require_count("concurrency", concurrency),
        max_page_bytes=require_count("max_page_bytes", max_page_bytes),
        trust_env=require_switch("trust_env", trust_env),
    )


def derive_client_config(
    config: ClientConfig, *, timeout: Timeout | None, retry: RetryPolicy | None
) -> ClientConfig:
    """Return the options with another timeout or retry policy. ``None`` keeps the old value.

    Raises:
        ConfigurationError: An option is wrong, or the policy has a retry budget of its own.
    """
    if retry is not None:
        _require_retry(retry)
        shared = config.retry.budget
        # A policy with the default budget keeps the client's budget, so RetryPolicy(attempts=1)
        # changes only the attempts.
        if retry.budget not in {shared, RetryPolicy().budget}:
            raise ConfigurationError(
                f"retry has a budget of {retry.budget}, but this client shares the retry budget of "
                f"the client it is made from, which is {shared}: leave budget out, or set it in "
                "CekatClient(retry=…)"
            )
    return msgspec.structs.replace(
        config,
        timeout=config.timeout if timeout is None else _require_timeout(timeout),
        retry=config.retry if retry is None else retry,
    )


def _require_retry(retry: object) -> RetryPolicy:
    if not isinstance(retry, RetryPolicy):
        raise ConfigurationError(f"retry must be a RetryPolicy, not {retry!r}")
    return retry


def _require_timeout(timeout: object) -> Timeout:
    if not isinstance(timeout, Timeout):
        raise ConfigurationError(f"timeout must be a Timeout, not {timeout!r}")
    return timeout


def _parse_key(key: object) -> Secret:
    # No message shows the argument, because it may be a real key with one extra character.
    if key is None:
        raise ConfigurationError(f"no API key: pass api_key=… or set {_KEY_VARIABLE}")
    if not isinstance(key, str):
        raise ConfigurationError(f"the API key must be text, not {type(key).__name__}")
    if not key.strip():
        raise ConfigurationError(f"the API key is empty: check api_key=… or {_KEY_VARIABLE}")
    if not (key.isascii() and key.isprintable()) or key != key.strip():
        raise ConfigurationError(
            "the API key has a line break, a blank at the start or end, or a character that is not "
            "allowed in HTTP headers: copy only the key itself"
        )
    return Secret(key)


def _parse_base_url(base_url: object, *, allow_http: bool) -> str:
    text = require_text("base_url", base_url).strip()
    # This check comes first, because the other messages show the URL, which may contain a password.
    if "@" in text:
        raise ConfigurationError("base_url must not contain a user name, a password or an '@'")
    if "?" in text or "#" in text:
        raise ConfigurationError("base_url must not contain a query or fragment")
    parts = _parse_url(text)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(f"base_url {text!r} would send the key unencrypted").advise(
            "write https://, or pass {option}", allow_http=True
        )
    return f"{parts.scheme}://{parts.netloc}{_parse_path(text, parts.path)}"


def _parse_url(text: str) -> SplitResult:
    example = f"write it as {DEFAULT_BASE_URL!r}"
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ConfigurationError(f"base_url contains a blank or a control character; {example}")
    if not text.isascii():
        raise ConfigurationError(
            f"base_url {text!r} is not ASCII: write its host as xn--… and its path as %…"
        )
    try:
        parts = urlsplit(text)
        port_is_bad = parts.port == 0
    except ValueError as error:
        raise ConfigurationError(f"base_url {text!r} is not a URL ({error}); {example}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port_is_bad:
        raise ConfigurationError(f"base_url {text!r} needs a scheme and a host; {example}")
    if not is_host(parts.hostname):
        raise ConfigurationError(
            f"base_url {text!r} has no valid host: write a full host name, or an IP address with "
            "all of its numbers"
        )
    return parts


def _parse_path(text: str, path: str) -> str:
    # A gateway may need a path prefix, even one like /api/cekat. The API's own path follows the
    # prefix.
    prefix = path.rstrip("/")
    if _OWN_PATH.search(prefix):
        raise ConfigurationError(
            f"base_url {text!r} must end before the API's own path: remove '/api' and everything "
            "after it"
        )
    return prefix
