"""Settings from a file: defaults for the options, and profiles for several accounts."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cekat_async import ConfigurationError
from cekat_async.cli.places import settings_file

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEY_NAMES", "Settings", "read_settings"]

_HERE = "cekat.toml"


class _Kind(NamedTuple):
    """What a value has to be."""

    wanted: str
    fits: Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_rate(value: object) -> bool:
    return _is_text(value) or _is_number(value)


def _is_texts(value: object) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


_TEXT = _Kind('a text, as in {key} = "…"', _is_text)
_NUMBER = _Kind("a whole number, as in {key} = 8", _is_number)
_SWITCH = _Kind("true or false", _is_switch)
_RATE = _Kind('as in {key} = "300/60"', _is_rate)
_TEXTS = _Kind('a list of texts, as in {key} = ["…", "…"]', _is_texts)

KEY_NAMES = ("api_key_file", "api_key_env")
"""The settings that say where the API key is. One of a profile outdoes both of the defaults."""

_KINDS = {
    "account": _TEXT,
    "allow_empty": _SWITCH,
    "allow_http": _SWITCH,
    "api_key_env": _TEXT,
    "api_key_file": _TEXT,
    "attempts": _NUMBER,
    "base_url": _TEXT,
    "by_inbox": _SWITCH,
    "checkpoint": _TEXT,
    "concurrency": _NUMBER,
    "inbox": _TEXTS,
    "incremental": _SWITCH,
    "keep_formulas": _SWITCH,
    "log_format": _TEXT,
    "rate_limit": _RATE,
    "status": _TEXT,
    "table": _TEXT,
    "target": _TEXT,
    "wait": _SWITCH,
}
_PATHS = {"api_key_file", "checkpoint", "target"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says for a profile.

    Attributes:
        file: Its name, as a person knows it.
        values: The values of the options, by their names with underscores.
        has_own_key: Whether the profile itself says where its key is, and not the defaults.
        is_found_here: Whether nobody named the file: it lay in the current folder.
    """

    file: str = ""
    values: dict[str, Any] = {}
    has_own_key: bool = False
    is_found_here: bool = False


def read_settings(config: str | None, profile: str | None) -> Settings:
    """Return the settings for a profile.

    Args:
        config: The file. Without a name it is ``cekat.toml`` in the current folder, or else the
            one of the person; if there is neither, there are no settings.
        profile: The profile; without one only the defaults count.

    Raises:
        ConfigurationError: There is no such file or profile, or something in it is wrong.
    """
    path = Path(config) if config else _found()
    if path is None:
        if profile:
            raise ConfigurationError(
                f"there is no profile {profile!r}, since there are no settings: write {_HERE} or "
                f"{settings_file()}, or name a file with --config"
            )
        return Settings()
    file = str(path)
    read = _read(path)
    profiles = read.pop("profiles", {})
    defaults = _checked(read, file)
    chosen = _profile(profiles, profile, file)
    if has_own_key := any(name in chosen for name in KEY_NAMES):
        defaults = {name: value for name, value in defaults.items() if name not in KEY_NAMES}
    return Settings(
        file=file,
        values=defaults | chosen,
        has_own_key=has_own_key,
        is_found_here=not config and file == _HERE,
    )


def _found() -> Path | None:
    # What cannot even be looked for is not there.
    return next((path for path in (Path(_HERE), settings_file()) if os.path.exists(path)), None)  # noqa: PTH110


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _profile(profiles: object, name: str | None, file: str) -> dict[str, Any]:
    if not isinstance(profiles, dict) or not all(
        isinstance(one, dict) for one in profiles.values()
    ):
        raise ConfigurationError(f"{file}: profiles: write each as a table, [profiles.NAME]")
    # All of them are checked: what is wrong in one is better known before it is wanted.
    found = {each: _checked(values, f"{file}: {each}") for each, values in profiles.items()}
    if name is None:
        return {}
    if name not in found:
        there = f"there are: {', '.join(found)}" if found else "there are none"
        raise ConfigurationError(f"{file} has no profile {name!r}: {there}")
    return found[name]


def _checked(table: dict[str, Any], where: str) -> dict[str, Any]:
    values = {key.replace("-", "_"): value for key, value in table.items()}
    for key, value in values.items():
        _check(key, value, where)
    if all(name in values for name in KEY_NAMES):
        raise ConfigurationError(f"{where}: write either {' or '.join(KEY_NAMES)}, not both")
    return {key: _as_typed(key, value) for key, value in values.items()}


def _check(key: str, value: object, where: str) -> None:
    if key == "api_key":
        # Without the value: it is a key.
        raise ConfigurationError(
            f"{where}: api_key: no key belongs into this file; put it into a file of its own and "
            'write api_key_file = "…", or name its variable with api_key_env = "…"'
        )
    kind = _KINDS.get(key)
    if kind is None:
        close = difflib.get_close_matches(key, _KINDS, 1)
        instead = f"did you mean {close[0]}?" if close else f"there are {', '.join(_KINDS)}"
        raise ConfigurationError(f"{where}: {key}: there is no such setting: {instead}")
    if not kind.fits(value):
        raise ConfigurationError(f"{where}: {key}: write {kind.wanted.format(key=key)}")


def _as_typed(key: str, value: Any) -> Any:
    """Return a value as it would have been typed behind its option."""
    if key in _PATHS:
        return os.path.expanduser(value)  # noqa: PTH111 - a slash at its end has a meaning
    if key == "inbox":
        return [value] if isinstance(value, str) else value
    return str(value) if key == "rate_limit" else value
