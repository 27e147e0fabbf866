"""File names that this system can have."""

from __future__ import annotations

import os
import sys

from cekat_async import ConfigurationError
from cekat_async.redaction import readable

__all__ = ["require_name"]


def require_name(name: str) -> None:
    """Raise if no file can have a name here, whatever folder it is in.

    Raises:
        ConfigurationError: The name has a NUL, or a character that the locale has no bytes for.
    """
    if "\0" in name:
        raise ConfigurationError(f"no file can be called {name!r}: a name has no NUL in it")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"the name {readable(name)!a} cannot be used here: this locale encodes file names as "
            f"{sys.getfilesystemencoding()}; set one that has all characters, as LC_ALL=C.UTF-8"
        ) from None
