"""Which sink a target is for: chosen by what it looks like."""

from __future__ import annotations

# ruff: noqa: PLC0415 - the sinks: see the end of this file
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cekat_async import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cekat_async.export.sinks.base import Sink

__all__ = ["TARGETS", "options_of", "sink_for"]

TARGETS = (
    ".jsonl, .jsonl.gz, .jsonl.zst, .csv, .parquet (a file; with a slash behind it a folder), "
    ".sqlite, .duckdb, postgresql://…, or - for standard output"
)
_SCHEMES = ("postgresql://", "postgres://")
_MEANT_FOR = {"defuse": ".csv", "table": ".sqlite, .duckdb and postgresql://…"}


def sink_for(
    target: str | os.PathLike[str] | Sink, *, table: str | None = None, defuse: bool | None = None
) -> Sink:
    """Return the sink for a target; one that is a sink already is returned as it is.

    Args:
        target: A file name, a folder, a database or ``-``.
        table: The table in a database; ``None`` for that sink's default.
        defuse: Whether cells of a CSV file are made text that look like a formula; ``None`` for
            that sink's default.

    Raises:
        ConfigurationError: It looks like nothing that can be exported to; the message lists what
            can. Or an option means nothing for it.
        MissingExtraError: It needs a library that is not installed.
    """
    given = {"table": table, "defuse": defuse}
    options = {name: value for name, value in given.items() if value is not None}
    if not isinstance(target, (str, os.PathLike)):
        _require_known(options, frozenset(), "a sink of one's own")
        return target
    kind = _kind_of(target)
    _require_known(options, kind.options, repr(_shown(target)))
    return kind.make(os.fspath(target), **options)


def options_of(target: str) -> frozenset[str]:
    """Return the names of the options of :func:`sink_for` that mean something for a target.

    Raises:
        ConfigurationError: It looks like nothing that can be exported to.
    """
    return _kind_of(target).options


def _kind_of(target: str | os.PathLike[Any]) -> _Kind:
    """Return the kind of sink that a target is for."""
    name = os.fspath(target)
    if not isinstance(name, str) or "\0" in name:  # a path may be of bytes
        raise _unknown(name)
    if name == "-":
        return _Kind(_stdout)
    if name.startswith(_SCHEMES):
        return _Kind(_postgres, _TABLE)
    if _is_folder(name):
        return _Kind(_parquet_folder)
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix) and Path(name).name != suffix:
            return kind
    raise _unknown(name)


def _require_known(options: Iterable[str], known: frozenset[str], target: str) -> None:
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"{name}= means nothing for {target}: it is for {_MEANT_FOR[name]}"
            )


def _is_folder(name: str) -> bool:
    # Which, other than a path's own method, is false also for a name that the system refuses.
    is_folder = name.endswith(("/", os.sep)) or os.path.isdir(name)  # noqa: PTH112
    return is_folder and Path(name).name.endswith(".parquet") and Path(name).name != ".parquet"


def _unknown(name: object) -> ConfigurationError:
    return ConfigurationError(f"cannot export to {_shown(name)!r}: give one of {TARGETS}")


def _shown(name: object) -> object:
    """Return a target without what may be a password in it."""
    if not isinstance(name, str):
        return name
    scheme, is_url, _ = name.partition("://")
    if is_url:
        return f"{scheme}://…"
    # As those that forget a slash, or give libpq's own form.
    return "…" if "@" in name or "password" in name.lower() else name


# Each sink is imported only for a target that needs it, because each has libraries of its own. The
# import is a statement, so that tools that bundle programs (PyInstaller) find the module.


def _json_lines(path: str) -> Sink:
    from cekat_async.export.sinks.files.json_lines import JsonLinesSink

    return JsonLinesSink(path)


def _gzip_json_lines(path: str) -> Sink:
    from cekat_async.export.sinks.files.compressed import GzipJsonLinesSink

    return GzipJsonLinesSink(path)


def _zstd_json_lines(path: str) -> Sink:
    from cekat_async.export.sinks.files.compressed import ZstdJsonLinesSink

    return ZstdJsonLinesSink(path)


def _csv(path: str, **options: bool) -> Sink:
    from cekat_async.export.sinks.files.csv import CsvSink

    return CsvSink(path, **options)


def _parquet(path: str) -> Sink:
    from cekat_async.export.sinks.files.parquet import ParquetSink

    return ParquetSink(path)


def _parquet_folder(path: str) -> Sink:
    from cekat_async.export.sinks.files.parquet import ParquetFolderSink

    return ParquetFolderSink(path)


def _sqlite(path: str, **options: str) -> Sink:
    from cekat_async.export.sinks.databases.sqlite import SqliteSink

    return SqliteSink(path, **options)


def _duckdb(path: str, **options: str) -> Sink:
    from cekat_async.export.sinks.databases.duckdb import DuckdbSink

    return DuckdbSink(path, **options)


def _postgres(url: str, **options: str) -> Sink:
    from cekat_async.export.sinks.databases.postgres import PostgresSink

    return PostgresSink(url, **options)


def _stdout(_: str) -> Sink:
    from cekat_async.export.sinks.files.stdout import StdoutSink

    return StdoutSink()


class _Kind(NamedTuple):
    """A kind of target: what makes its sink, and which options of :func:`sink_for` it has."""

    make: Callable[..., Sink]
    options: frozenset[str] = frozenset()


_TABLE = frozenset({"table"})
_SUFFIXES = {
    ".jsonl": _Kind(_json_lines),
    ".jsonl.gz": _Kind(_gzip_json_lines),
    ".jsonl.zst": _Kind(_zstd_json_lines),
    ".csv": _Kind(_csv, frozenset({"defuse"})),
    ".parquet": _Kind(_parquet),
    ".sqlite": _Kind(_sqlite, _TABLE),
    ".duckdb": _Kind(_duckdb, _TABLE),
}
