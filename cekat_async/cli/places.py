"""Where a command line keeps things: its settings, and checkpoints that have no other place."""

from __future__ import annotations

import os
import re
import sys
from hashlib import blake2b
from pathlib import Path

from cekat_async import TargetError

__all__ = ["checkpoint_of", "settings_file"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 80
_OWNER_ALONE = 0o700


def settings_file() -> Path:
    """Return where the settings of a person are, if there are any."""
    return _base("XDG_CONFIG_HOME", ".config") / "cekat" / "config.toml"


def checkpoint_of(target: str, ending: str) -> Path:
    """Return the file for the checkpoint of a target that is not on this machine.

    Args:
        target: What it is called, with its table, and without a password.
        ending: What the names of checkpoints end in.

    Raises:
        TargetError: The folder cannot be made.
    """
    place = target.partition("://")[2].rpartition("@")[2]
    name = _UNSAFE.sub("-", place).strip("-.")[:_LONGEST]
    # Two targets may come to the same readable name.
    digest = blake2b(target.encode(), digest_size=4).hexdigest()
    return _state_folder() / f"{name}-{digest}{ending}"


def _state_folder() -> Path:
    folder = _base("XDG_STATE_HOME", ".local/state") / "cekat"
    if not folder.is_absolute():
        raise TargetError(
            "no home folder to keep the checkpoint in: name a place with --checkpoint"
        )
    try:
        folder.mkdir(_OWNER_ALONE, parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"cannot make {folder}, where the checkpoint belongs ({error.strerror}): "
            "name a place for it with --checkpoint"
        ) from error
    return folder


def _base(variable: str, below_home: str) -> Path:
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    named = os.environ.get(variable, "")
    # What is not absolute is to be ignored, says the specification of these variables.
    if Path(named).is_absolute():
        return Path(named)
    # Not Path.home(), which fails for a user whom the system does not know, as in containers.
    return Path(os.path.expanduser("~"), below_home)  # noqa: PTH111
