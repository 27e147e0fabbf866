"""Parses the URL of a PostgreSQL database, and formats it without secrets."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from cekat_async import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["describe_database", "parse_url", "redact"]

_SECRET = {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
_FORM = "postgresql://user:password@host:port/database"


def parse_url(url: object) -> dict[str, Any]:
    """Return the options of a connection, by the names that libpq uses.

    The message of a ConfigurationError does not contain the URL, because the URL may contain a
    password.
    """
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - an extra

    if not isinstance(url, str) or not url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(f"url must look like {_FORM}")
    _, _, rest = url.partition("://")
    if rest.count("@") > 1 or "/" in rest.partition("@")[0] * ("@" in rest):
        # libpq would mistake a part of the password for the host, the port or the database.
        raise ConfigurationError(
            "url: write the characters @ / and : in a user name, a password or an option as "
            "%40 %2F and %3A"
        )
    options = None
    with contextlib.suppress(Exception):
        options = dict(conninfo_to_dict(url))
    if options is None or not re.fullmatch(r"[0-9,]*", str(options.get("port", ""))):
        raise ConfigurationError(f"url must look like {_FORM}, with only options that libpq knows")
    return options


def describe_database(options: Mapping[str, Any]) -> str:
    """Return the URL of a database without its secrets."""
    hosts = str(options.get("host") or options.get("hostaddr") or "").split(",")
    ports = str(options.get("port", "")).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    servers = [
        (quote(host, safe=":[]") if ":" not in host else f"[{host}]") + (f":{port}" * bool(port))
        for host, port in zip(hosts, ports, strict=False)
    ]
    user = quote(str(options["user"]), safe="") + "@" if options.get("user") else ""
    query = f"?{urlencode({'service': options['service']})}" if "service" in options else ""
    return f"postgresql://{user}{','.join(servers)}/{quote(str(options.get('dbname', '')))}{query}"


def redact(text: str, options: Mapping[str, Any]) -> str:
    """Return a text as one line, without any secret that is in the options."""
    line = " ".join(text.split())
    for name in _SECRET & set(options):
        if secret := str(options[name]):
            line = line.replace(secret, "***").replace(quote(secret, safe=""), "***")
    return line
