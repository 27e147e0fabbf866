"""Command-line arguments as text, in any locale."""

from __future__ import annotations

import os

import click

from cekat_async.redaction import readable

__all__ = ["target", "text"]


def text(value: str) -> str:
    """Return text: UTF-8, also where the locale is another one and Python could not read it."""
    if value == readable(value):
        return value
    try:
        return os.fsencode(value).decode()
    except UnicodeError:
        # Without the value: a URL may have a password in it.
        raise click.BadParameter("it is not text in UTF-8.") from None


def target(value: str) -> str:
    """Return the name of a file, which may be any bytes, or the URL of a database, as text."""
    return text(value) if "://" in value else value
