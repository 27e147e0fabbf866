"""Which sink a target is for: chosen by what it looks like."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cekat_async import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cekat_async.export.sink import Sink

__all__ = ["TARGETS", "options_of", "sink_for"]

TARGETS = (
    ".jsonl, .jsonl.gz, .jsonl.zst, .csv, .parquet (a file; with a slash behind it a folder), "
    ".sqlite, .duckdb, postgresql://…, or - for standard output"
)
_SUFFIXES = {
    ".jsonl": "json_lines:JsonLinesSink",
    ".jsonl.gz": "compressed:GzipJsonLinesSink",
    ".jsonl.zst": "compressed:ZstdJsonLinesSink",
    ".csv": "csv_file:CsvSink",
    ".parquet": "parquet:ParquetSink",
    ".sqlite": "sqlite:SqliteSink",
    ".duckdb": "duckdb:DuckdbSink",
}
_SCHEMES = ("postgresql://", "postgres://")
_OPTIONS = {
    "csv_file": frozenset({"defuse"}),
    **dict.fromkeys(("sqlite", "duckdb", "postgres"), frozenset({"table"})),
}
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
    where, arguments = _kind_of(target)
    _require_known(options, _options_at(where), repr(_shown(arguments[0] if arguments else "-")))
    return _make(where, *arguments, **options)


def options_of(target: str) -> frozenset[str]:
    """Return the names of the options of :func:`sink_for` that mean something for a target.

    Raises:
        ConfigurationError: It looks like nothing that can be exported to.
    """
    return _options_at(_kind_of(target)[0])


def _kind_of(target: str | os.PathLike[Any]) -> tuple[str, tuple[str, ...]]:
    """Return where the kind of sink is that a target is for, and what it is made with."""
    name = os.fspath(target)
    if not isinstance(name, str) or "\0" in name:  # a path may be of bytes
        raise _unknown(name)
    if name == "-":
        return "stdout:StdoutSink", ()
    if name.startswith(_SCHEMES):
        return "postgres:PostgresSink", (name,)
    if _is_folder(name):
        return "parquet:ParquetFolderSink", (name,)
    for suffix, where in _SUFFIXES.items():
        if name.endswith(suffix) and Path(name).name != suffix:
            return where, (name,)
    raise _unknown(name)


def _options_at(where: str) -> frozenset[str]:
    return _OPTIONS.get(where.partition(":")[0], frozenset())


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


def _make(where: str, *arguments: str, **options: object) -> Sink:
    # Imported only for a target that needs it: each has libraries of its own.
    module, _, name = where.partition(":")
    kind = getattr(import_module(f"cekat_async.export.{module}"), name)
    return cast("Callable[..., Sink]", kind)(*arguments, **options)


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
