"""Chooses the sink for a target by the name of the target."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cekat_async import ConfigurationError
from cekat_async.export.sinks.databases.duckdb import DuckdbSink
from cekat_async.export.sinks.databases.postgres import PostgresSink
from cekat_async.export.sinks.files.csv import CsvSink
from cekat_async.export.sinks.files.json_lines import (
    GzipJsonLinesSink,
    JsonLinesSink,
    ZstdJsonLinesSink,
)
from cekat_async.export.sinks.files.parquet import ParquetSink
from cekat_async.export.sinks.files.parquet_folder import ParquetFolderSink
from cekat_async.export.sinks.files.stdout import StdoutSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cekat_async.export.sinks.base import Sink

__all__ = ["OPTION_TARGETS", "TARGETS", "get_options", "sink_for"]

TARGETS = (
    ".jsonl, .jsonl.gz, .jsonl.zst, .csv, .parquet (a file; with a slash after it, a folder), "
    ".sqlite, .duckdb, postgresql://…, or - for standard output"
)


class _Kind(NamedTuple):
    """A kind of target: the function that creates its sink, and the options that it accepts."""

    create: Callable[..., Sink]
    options: frozenset[str] = frozenset()


def _create_sqlite(target: str, **options: Any) -> Sink:
    # Import the sink here, so that help texts and usage errors do not import sqlite3.
    from cekat_async.export.sinks.databases.sqlite import SqliteSink  # noqa: PLC0415

    return SqliteSink(target, **options)


def _create_stdout(_: str) -> Sink:
    return StdoutSink()


_TABLE = frozenset({"table"})
_STDOUT = _Kind(_create_stdout)
_POSTGRES = _Kind(PostgresSink, _TABLE)
_PARQUET_FOLDER = _Kind(ParquetFolderSink)
# Sinks import their libraries when they are created.
_BY_SUFFIX = {
    ".jsonl": _Kind(JsonLinesSink),
    ".jsonl.gz": _Kind(GzipJsonLinesSink),
    ".jsonl.zst": _Kind(ZstdJsonLinesSink),
    ".csv": _Kind(CsvSink, frozenset({"defuse"})),
    ".parquet": _Kind(ParquetSink),
    ".sqlite": _Kind(_create_sqlite, _TABLE),
    ".duckdb": _Kind(DuckdbSink, _TABLE),
}
_SCHEMES = ("postgresql://", "postgres://")
OPTION_TARGETS = {"defuse": ".csv", "table": ".sqlite, .duckdb and postgresql://…"}


def sink_for(
    target: str | os.PathLike[str] | Sink, *, table: str | None = None, defuse: bool | None = None
) -> Sink:
    """Return the sink for a target. If the target is already a sink, return it unchanged.

    Args:
        target: A file name, a folder, the URL of a database, or ``-`` for standard output, as in
            :func:`export_conversations`.
        table: The name of the table in a database. Default ``None``: the default of the sink.
        defuse: Whether to turn cells of a CSV file that look like a formula into text. Default
            ``None``: the default of the sink.

    Raises:
        ConfigurationError: There is no sink for this target, or an option does not apply to the
            target. If there is no sink, the message lists the targets that have one.
        MissingExtraError: The sink needs a library that is not installed.

    Examples:
        >>> sink = sink_for("conversations.sqlite", table="chats")
        >>> report = await export_conversations(cekat, sink)
    """
    given = {"table": table, "defuse": defuse}
    options = {name: value for name, value in given.items() if value is not None}
    if not isinstance(target, (str, os.PathLike)):
        _require_known(options, frozenset(), "your own sink")
        return target
    kind = _find_kind(target)
    _require_known(options, kind.options, repr(_redact(target)))
    return kind.create(os.fspath(target), **options)


def get_options(target: str) -> frozenset[str]:
    """Return the names of the options of :func:`sink_for` that apply to a target."""
    return _find_kind(target).options


def _find_kind(target: str | os.PathLike[Any]) -> _Kind:
    name = os.fspath(target)
    if not isinstance(name, str) or "\0" in name:  # a path can be bytes
        raise _build_unknown(name)
    if name == "-":
        return _STDOUT
    if name.startswith(_SCHEMES):
        return _POSTGRES
    if _is_folder(name):
        return _PARQUET_FOLDER
    for suffix, kind in _BY_SUFFIX.items():
        if name.endswith(suffix) and Path(name).name != suffix:
            return kind
    raise _build_unknown(name)


def _require_known(options: Iterable[str], known: frozenset[str], target: str) -> None:
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"{name}= does not apply to {target}: use it with {OPTION_TARGETS[name]}"
            )


def _is_folder(name: str) -> bool:
    # Unlike `Path.is_dir`, this returns false for a name that the system refuses.
    is_folder = name.endswith(("/", os.sep)) or os.path.isdir(name)  # noqa: PTH112
    return is_folder and Path(name).name.endswith(".parquet") and Path(name).name != ".parquet"


def _build_unknown(name: object) -> ConfigurationError:
    return ConfigurationError(f"cannot export to {_redact(name)!r}: use one of {TARGETS}")


def _redact(name: object) -> object:
    """Return a target without anything that may be a password."""
    if not isinstance(name, str):
        return name
    scheme, is_url, _ = name.partition("://")
    if is_url:
        return f"{scheme}://…"
    # The name may be a URL without a slash, or have libpq's own format.
    return "…" if "@" in name or "password" in name.lower() else name
