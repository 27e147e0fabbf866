"""Command-line arguments as text and as file names, in any locale."""

from __future__ import annotations

import os

import click

from cekat_async import ConfigurationError
from cekat_async.errors import readable
from cekat_async.export.names import require_name

__all__ = ["file", "target", "text"]


def text(value: str) -> str:
    """Return text: UTF-8, also where the locale is another one and Python could not read it."""
    if value == readable(value):
        return value
    try:
        return os.fsencode(value).decode()
    except UnicodeError:
        # Without the value: a URL may have a password in it.
        raise click.BadParameter("it is not text in UTF-8.") from None


def file(value: str) -> str:
    """Return the name of a file, which may be any bytes."""
    try:
        require_name(value)
    except ConfigurationError as error:
        raise click.BadParameter(f"{error}.") from None
    return value


def target(value: str) -> str:
    """Return the name of a file, or the URL of a database, which is text."""
    return text(value) if "://" in value else file(value)
