"""Finds the paths of the settings file, and of checkpoints for targets that are not local."""

from __future__ import annotations

import os
import re
import sys
from hashlib import blake2b
from pathlib import Path

from cekat_async import TargetError

__all__ = ["get_checkpoint_path", "get_settings_path"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 80
_OWNER_ONLY = 0o700


def get_settings_path() -> Path:
    """Return the path of the user's settings file. The file may not exist."""
    return _get_base("XDG_CONFIG_HOME", ".config") / "cekat" / "config.toml"


def get_checkpoint_path(target: str, suffix: str) -> Path:
    """Return the path of the checkpoint for a target that is not on this machine.

    ``target`` must include the name of the table, and must not contain a password.

    Raises:
        TargetError: The folder for checkpoints cannot be created.
    """
    place = target.partition("://")[2].rpartition("@")[2]
    name = _UNSAFE.sub("-", place).strip("-.")[:_LONGEST]
    # The digest distinguishes two targets whose readable names are the same.
    digest = blake2b(target.encode(), digest_size=4).hexdigest()
    return _make_state_folder() / f"{name}-{digest}{suffix}"


def _make_state_folder() -> Path:
    folder = _get_base("XDG_STATE_HOME", ".local/state") / "cekat"
    if not folder.is_absolute():
        raise TargetError("there is no home folder for the checkpoint: pass --checkpoint FILE")
    try:
        folder.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"cannot make the folder {folder} for the checkpoint ({error.strerror}): "
            "pass --checkpoint FILE"
        ) from error
    return folder


def _get_base(variable: str, below_home: str) -> Path:
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    named = os.environ.get(variable, "")
    # The XDG specification says that relative paths are ignored.
    if Path(named).is_absolute():
        return Path(named)
    # Path.home() fails for users that the system does not know, for example in containers.
    return Path(os.path.expanduser("~"), below_home)  # noqa: PTH111
