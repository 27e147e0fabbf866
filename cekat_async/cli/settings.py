"""Reads settings from a file: default values for options, and profiles for several accounts.

This module also finds the source of an option's value: command line, environment, or this file.
"""

# A settings file is TOML of any shape.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
from click.core import ParameterSource

from cekat_async import ConfigurationError
from cekat_async.cli.parameter_types import (
    parse_file_name,
    parse_rate_limit,
    parse_share,
    parse_target,
)
from cekat_async.cli.paths import get_settings_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Settings",
    "describe_bad_value",
    "describe_settings",
    "get_precedence",
    "get_settings",
    "is_from_file",
    "is_typed",
    "load_settings",
]

_META_SETTINGS = "cekat.settings"
_META_CHOICE = "cekat.choice"
_CHOICE = {"config", "profile"}  # the options that choose the settings

_LOCAL_FILE = "cekat.toml"

# The settings for the API key. If a profile has one of them, both defaults are ignored.
_KEY_NAMES = ("api_key_file", "api_key_env")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one profile in a settings file."""

    file: str = ""
    profile: str | None = None
    values: dict[str, Any] = {}  # the values of options, by option name with underscores
    has_own_key: bool = False  # the profile, not the file's defaults, says where its key is
    is_found_here: bool = False  # the file was found in the current folder, without --config


# The sources of values, in ascending order of precedence.
_SOURCES = (ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT, ParameterSource.COMMANDLINE)


def get_precedence(context: click.Context, name: str) -> int:
    """Return the precedence of an option's source. The source with the higher number wins."""
    source = context.get_parameter_source(name)
    return _SOURCES.index(source) + 1 if source in _SOURCES else 0


def is_typed(context: click.Context, name: str) -> bool:
    """Return whether an option is on the command line."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def is_from_file(context: click.Context, name: str) -> bool:
    """Return whether the value of an option is from the settings file."""
    return context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP


def describe_bad_value(error: click.BadParameter) -> str | None:
    """Describe what is wrong with a value from a file or a variable, and where the value is set.

    Return ``None`` for a typed value, because click's own text names its option.
    """
    if error.ctx is None or error.param is None or error.param.name is None:
        return None
    name = error.param.name
    if is_from_file(error.ctx, name):
        return f"{get_settings(error.ctx).file}: {name}: {error.message}"
    is_from_variable = error.ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT
    return f"{error.param.envvar}: {error.message}" if is_from_variable else None


def get_settings(context: click.Context) -> Settings:
    """Return the settings that ``load_settings`` has read for the chosen profile."""
    settings: Settings = context.meta.get(_META_SETTINGS, Settings())
    return settings


def describe_settings(context: click.Context) -> str:
    """Return a text that names the file and the profile that the settings are from."""
    settings = get_settings(context)
    if not settings.file:
        return f"no file: neither {_LOCAL_FILE} nor {get_settings_path()}"
    return f"{settings.file}, {f'profile {settings.profile}' if settings.profile else 'no profile'}"


def load_settings(context: click.Context, param: click.Parameter, value: str | None) -> None:
    """Read the settings once the file and the profile are known, before other options."""
    choice: dict[str, str | None] = context.meta.setdefault(_META_CHOICE, {})
    choice[str(param.name)] = value
    if len(choice) < len(_CHOICE):
        return
    parameters = _find_settable(context.find_root().command)
    settings = _read_settings(choice["config"], choice["profile"], parameters)
    context.meta[_META_SETTINGS] = settings
    # The sources of a key have their own order of precedence: see api_key.py.
    context.default_map = {
        name: value for name, value in settings.values.items() if name not in _KEY_NAMES
    }


def _find_settable(program: click.Command) -> dict[str, click.Parameter]:
    """Return the parameters of all commands that a settings file may set, by their names."""
    commands = program.commands.values() if isinstance(program, click.Group) else [program]
    return {
        str(parameter.name): parameter
        for command in commands
        for parameter in command.params
        if parameter.envvar and parameter.name not in _CHOICE
    }


def _read_settings(
    config: str | None, profile: str | None, parameters: Mapping[str, click.Parameter]
) -> Settings:
    """Return the settings for a profile.

    Args:
        config: The settings file. By default, it is ``cekat.toml`` in the current folder, or else
            the user's own file. If neither exists, there are no settings.
        profile: The profile. Without one, only the file's defaults apply.
        parameters: The options and arguments that the file may set, by name.

    Raises:
        ConfigurationError: There is no such file or profile, or the file has an error.
    """
    path = Path(config) if config else _find_file()
    if path is None:
        if profile:
            raise ConfigurationError(
                f"there is no profile {profile!r}, because there is no settings file: write "
                f"{_LOCAL_FILE} or {get_settings_path()}, or pass --config FILE"
            )
        return Settings()
    file = str(path)
    kinds = _get_kinds(parameters)
    table = _read_toml(path)
    profiles = table.pop("profiles", {})
    defaults = _read_table(table, file, kinds)
    chosen = _read_profile(profiles, profile, file, kinds)
    if has_own_key := any(name in chosen for name in _KEY_NAMES):
        defaults = {name: value for name, value in defaults.items() if name not in _KEY_NAMES}
    return Settings(
        file=file,
        profile=profile,
        values=defaults | chosen,
        has_own_key=has_own_key,
        is_found_here=not config and file == _LOCAL_FILE,
    )


def _make_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Kind(NamedTuple):
    """A kind of setting: the values that it accepts, and their conversion.

    Attributes:
        wanted: A description of valid values, for error messages.
        types: The types that the file may use. Text must not be blank.
        convert: A function that converts a value to the form that users type on the command line.
    """

    wanted: str
    types: tuple[type, ...]
    convert: Callable[[Any], Any] = lambda value: value

    def accepts(self, value: object) -> bool:
        """Return whether a value is of this kind."""
        if type(value) is list:
            return list in self.types and all(map(_TEXT.accepts, value))
        is_blank = isinstance(value, str) and not value.strip()
        return type(value) in self.types and not is_blank


_TEXT = _Kind('a text, as in {key} = "…"', (str,))
# pathlib is not used here, because it removes a slash at the end.
_PATH = _TEXT._replace(convert=os.path.expanduser)
_NUMBER = _Kind("a whole number, as in {key} = 8", (int,))
_SWITCH = _Kind("true or false", (bool,))
_RATE = _Kind('as in {key} = "300/60"', (str, int), str)
_SHARE = _Kind("a number, as in {key} = 0.5", (float, int), str)
_TEXTS = _Kind('a list of texts, as in {key} = ["…", "…"]', (str, list), _make_list)
# The kinds, by the function that parses the option on the command line. All other options are text.
_PARSED: Mapping[object, _Kind] = {
    parse_rate_limit: _RATE,
    parse_share: _SHARE,
    parse_file_name: _PATH,
    parse_target: _PATH,
}


def _get_kinds(parameters: Mapping[str, click.Parameter]) -> dict[str, _Kind]:
    """Return the kind of each setting, in alphabetical order of the settings."""
    kinds = {name: _get_kind(parameter) for name, parameter in parameters.items()}
    return dict(sorted((kinds | {"api_key_file": _PATH, "api_key_env": _TEXT}).items()))


def _get_kind(parameter: click.Parameter) -> _Kind:
    if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.multiple):
        return _SWITCH if parameter.is_flag else _TEXTS
    if isinstance(parameter.type, click.IntRange):
        return _NUMBER
    return _PARSED.get(getattr(parameter.type, "func", None), _TEXT)


def _find_file() -> Path | None:
    # os.path.exists() is false for a path that the user may not access.
    paths = (Path(_LOCAL_FILE), get_settings_path())
    return next((path for path in paths if os.path.exists(path)), None)  # noqa: PTH110


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _read_profile(
    profiles: object, name: str | None, file: str, kinds: Mapping[str, _Kind]
) -> dict[str, Any]:
    if not isinstance(profiles, dict) or not all(
        isinstance(one, dict) for one in profiles.values()
    ):
        raise ConfigurationError(f"{file}: profiles: write each as a table, [profiles.NAME]")
    # Check all profiles, so that a user sees an error before the profile is needed.
    found = {each: _read_table(one, f"{file}: {each}", kinds) for each, one in profiles.items()}
    if name is None:
        return {}
    if name not in found:
        known = f"there are: {', '.join(found)}" if found else "there are none"
        raise ConfigurationError(f"{file} has no profile {name!r}: {known}")
    return found[name]


def _read_table(table: dict[str, Any], where: str, kinds: Mapping[str, _Kind]) -> dict[str, Any]:
    values = {key.replace("-", "_"): value for key, value in table.items()}
    for key, value in values.items():
        _require_valid(key, value, where, kinds)
    if all(name in values for name in _KEY_NAMES):
        raise ConfigurationError(f"{where}: write either {' or '.join(_KEY_NAMES)}, not both")
    return {key: kinds[key].convert(value) for key, value in values.items()}


def _require_valid(key: str, value: object, where: str, kinds: Mapping[str, _Kind]) -> None:
    if key == "api_key":
        # Do not show the value in the message, because it is an API key.
        raise ConfigurationError(
            f"{where}: api_key: this file must not contain a key. Put the key into another file "
            'and write api_key_file = "…", or name its variable with api_key_env = "…"'
        )
    if key not in kinds:
        close = difflib.get_close_matches(key, kinds, 1)
        instead = f"did you mean {close[0]}?" if close else f"there are {', '.join(kinds)}"
        raise ConfigurationError(f"{where}: {key}: there is no such setting: {instead}")
    if not kinds[key].accepts(value):
        raise ConfigurationError(f"{where}: {key}: write {kinds[key].wanted.format(key=key)}")
