"""Finds the API key: in the environment or in a private file, never on the command line."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cekat_async import ConfigurationError

if TYPE_CHECKING:
    from cekat_async.cli.settings import Settings

__all__ = ["KeySource", "find_key_source"]

_VARIABLE = "CEKAT_API_KEY"
_FILE_VARIABLE = "CEKAT_API_KEY_FILE"
_NOT_OWNER = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_LINE = 10_000


class KeySource(msgspec.Struct, frozen=True, kw_only=True):
    """The place of the API key. The key is read only when a client is created."""

    file: str | None = None  # the file whose first line is the key
    variable: str = _VARIABLE  # the variable with the key, used only without a file
    named_by: str = ""  # the setting that names the variable, if any

    def __str__(self) -> str:
        return self.file or self.variable

    def read(self) -> str:
        """Return the key.

        Raises:
            ConfigurationError: There is no key, or other users may read the file.
        """
        if self.file is not None:
            return _read_private(self.file)
        key = os.environ.get(self.variable)
        if key and key.strip():
            return key
        if self.named_by:
            raise ConfigurationError(
                f"{self.named_by} says that the key is in the variable {self.variable}, but it is "
                "not set: set it"
            )
        if key is None:
            raise ConfigurationError(f"no API key: set {self.variable}, or use --sandbox")
        raise ConfigurationError(f"the API key is empty: check the key in {self.variable}")


def find_key_source(option: str | None, settings: Settings, *, is_profile_typed: bool) -> KeySource:
    """Return the place of the API key.

    Args:
        option: The file from ``--api-key-file``. It overrides everything else.
        settings: The settings. The environment overrides them, unless the user typed the profile,
            because the key in the environment may belong to another account.
        is_profile_typed: Whether the user chose the profile on the command line.

    Raises:
        ConfigurationError: The environment has two keys.
    """
    if option is not None:
        return KeySource(file=option)
    own = _find_in_settings(settings)
    if own and settings.has_own_key and is_profile_typed:
        return own
    return _find_in_environment() or own or KeySource()


def _find_in_environment() -> KeySource | None:
    file, key = os.environ.get(_FILE_VARIABLE), os.environ.get(_VARIABLE)
    if file and key:
        raise ConfigurationError(f"{_VARIABLE} and {_FILE_VARIABLE} are both set: unset one")
    if file:
        return KeySource(file=file)
    return KeySource() if key else None


def _find_in_settings(settings: Settings) -> KeySource | None:
    if file := settings.values.get("api_key_file"):
        return KeySource(file=file)
    if variable := settings.values.get("api_key_env"):
        return KeySource(variable=variable, named_by=f"{settings.file}: api_key_env")
    return None


def _read_private(name: str) -> str:
    """Return the first line of a file that only its owner may read."""
    try:
        with Path(name).open("rb") as file:
            # Check the open file, not the name, because another file may have this name by now.
            _require_private(name, os.fstat(file.fileno()).st_mode)
            line = file.readline(_LONGEST_LINE)
    except OSError as error:
        raise ConfigurationError(f"cannot read the key in {name}: {error.strerror}") from error
    except ConfigurationError:
        raise
    except ValueError:  # a NUL, or a character that this locale cannot encode
        raise ConfigurationError(
            f"cannot read the key in {name!a}: the locale cannot encode this file name"
        ) from None
    # A byte that is not ASCII becomes a character that the client does not accept in a key.
    key = line.decode("ascii", "replace").strip()
    if not key:
        raise ConfigurationError(f"{name} is empty: its first line must be the API key")
    return key


def _require_private(name: str, mode: int) -> None:
    # systemd gives a service access to its credentials through an ACL, which shows in the group's
    # bits.
    others = stat.S_IRWXO if _is_credential(name) else _NOT_OWNER
    if sys.platform != "win32" and mode & others:
        raise ConfigurationError(f"other users can read the key in {name}: run chmod 600 {name}")


def _is_credential(name: str) -> bool:
    """Return whether systemd passed this file to the service with ``LoadCredential=``."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and Path(folder) == Path(name).parent
