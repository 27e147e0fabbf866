"""Where the API key comes from: the environment or a private file, never the command line."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cekat_async import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cekat_async.cli.settings import Settings

__all__ = ["KeySource", "key_source"]

_VARIABLE = "CEKAT_API_KEY"
_FILE_VARIABLE = "CEKAT_API_KEY_FILE"
_NOT_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LONGEST = 10_000


class KeySource(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the key is, so that nobody holds the key before it is needed.

    Attributes:
        file: A file whose first line it is.
        variable: The environment variable that it is in, if it is in no file.
        named_by: Who named the variable; empty for the usual one.
    """

    file: str | None = None
    variable: str = _VARIABLE
    named_by: str = ""

    def __str__(self) -> str:
        return self.file or self.variable

    def read(self) -> str | None:
        """Return the key; ``None`` if the usual variable is not there.

        Raises:
            ConfigurationError: It is not where it should be, or others may read it.
        """
        if self.file is not None:
            return _read_private(self.file)
        key = os.environ.get(self.variable)
        if self.named_by and not (key and key.strip()):
            raise ConfigurationError(
                f"{self.named_by} says that the key is in the variable {self.variable}: set it"
            )
        return key


def key_source(option: str | None, settings: Settings, *, profile_is_typed: bool) -> KeySource:
    """Return where the key is.

    Args:
        option: The file that was named as an option: it comes before all else.
        settings: Come last; but a key of a profile that was chosen on the command line comes before
            those of the environment. Another account's would be the wrong one.
        profile_is_typed: Whether it was.

    Raises:
        ConfigurationError: The environment has two.
    """
    if option is not None:
        return KeySource(file=option)
    own = _in_settings(settings)
    if own and settings.has_own_key and profile_is_typed:
        return own
    return _in_environment(os.environ) or own or KeySource()


def _in_environment(environment: Mapping[str, str]) -> KeySource | None:
    file, key = environment.get(_FILE_VARIABLE), environment.get(_VARIABLE)
    if file and key:
        raise ConfigurationError(f"{_VARIABLE} and {_FILE_VARIABLE} are both set: unset one")
    if file:
        return KeySource(file=file)
    return KeySource() if key else None


def _in_settings(settings: Settings) -> KeySource | None:
    if file := settings.values.get("api_key_file"):
        return KeySource(file=file)
    if variable := settings.values.get("api_key_env"):
        return KeySource(variable=variable, named_by=f"{settings.file}: api_key_env")
    return None


def _read_private(name: str) -> str:
    """Return the first line of a file that is for its owner alone."""
    try:
        with Path(name).open("rb") as file:
            # Asked of the file that is open: another one may have its name by now.
            _require_private(name, os.fstat(file.fileno()).st_mode)
            line = file.readline(_LONGEST)
    except OSError as error:
        raise ConfigurationError(f"cannot read the key in {name}: {error.strerror}") from error
    except ConfigurationError:
        raise
    except ValueError:  # a NUL, or a character that this locale has no bytes for
        raise ConfigurationError(
            f"cannot read the key in {name!a}: no file can have this name in this locale"
        ) from None
    # Bytes that are no text become some that no key has, and are refused as such.
    key = line.decode("ascii", "replace").strip()
    if not key:
        raise ConfigurationError(f"{name} is empty: its first line must be the API key")
    return key


def _require_private(name: str, mode: int) -> None:
    if sys.platform != "win32" and mode & _NOT_FOR_OTHERS:
        raise ConfigurationError(f"others may read the key in {name}: chmod 600 {name}")
