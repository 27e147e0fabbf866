"""The request that the options of ``cekat export`` describe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from cekat_async import ConfigurationError
from cekat_async.cli.commands.metrics_file import require_metrics_place
from cekat_async.cli.formatting import format_option
from cekat_async.cli.settings import get_precedence, is_typed
from cekat_async.export.checks import build_filters
from cekat_async.export.manifest import Filters
from cekat_async.export.sinks.registry import OPTION_TARGETS, get_options

__all__ = ["STDOUT", "ExportRequest", "build_export_request"]

STDOUT = "-"
"""The target that means standard output."""

# These options have the same names as the arguments of ``Export.run``.
_RUN_OPTIONS = ("incremental", "restart", "replace", "allow_empty", "concurrency")


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The filters, the target and the options of one export."""

    target: str
    sink_options: dict[str, Any]  # the options of sink_for
    filters: Filters
    account: str | None
    checkpoint: str | None
    metrics_file: Path | None
    run_options: dict[str, Any]  # the options of Export.run


def build_export_request(context: click.Context, **options: Any) -> ExportRequest:
    """Return the request that the options of ``cekat export`` describe.

    Raises:
        click.UsageError: An option has no meaning together with the other options.
        ConfigurationError: No sink can write the target, or the filters contradict each other.
    """
    target = options["target"]
    # Set the allocator before Arrow is imported: Arrow's own allocators need about ten megabytes
    # more.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _require_typed_target(context)
    _require_replaced_target(context, target, options)
    _require_possible_on_stdout(context, target, options)
    return ExportRequest(
        target=target,
        sink_options=_get_sink_options(context, target, options),
        filters=_build_filters(context, options),
        account=_get_account(context, options["account"]),
        checkpoint=options["checkpoint"],
        metrics_file=_find_metrics_file(context, target, options),
        run_options={name: options[name] for name in _RUN_OPTIONS},
    )


def _require_typed_target(context: click.Context) -> None:
    """Refuse to write sandbox data to the target that the settings name."""
    if context.params["sandbox"] and not is_typed(context, "target"):
        raise click.UsageError(
            "With --sandbox, type the TARGET: sandbox data must not replace a real export.",
            context,
        )


def _require_replaced_target(context: click.Context, target: str, options: dict[str, Any]) -> None:
    """Refuse options about replacing the target if exports never replace such a target."""
    is_replaced = target != STDOUT and "table" not in get_options(target)
    for name in ("replace", "allow_empty"):
        if options[name] and is_typed(context, name) and not is_replaced:
            raise _has_no_use(context, name, "files and folders")


def _require_possible_on_stdout(
    context: click.Context, target: str, options: dict[str, Any]
) -> None:
    if target != STDOUT:
        return
    if options["incremental"] and is_typed(context, "incremental"):
        raise click.UsageError("--incremental cannot be used with -. Use --full.", context)
    if options["restart"] and not options["checkpoint"]:
        raise click.UsageError("--restart with - needs --checkpoint.", context)


def _get_sink_options(
    context: click.Context, target: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the options of the sink. Settings that do not apply to the sink are ignored."""
    known, found = get_options(target), dict[str, Any]()
    if options["table"] is not None:
        if "table" in known:
            found["table"] = options["table"]
        elif is_typed(context, "table"):
            raise _has_no_use(context, "table", OPTION_TARGETS["table"])
    if options["keep_formulas"]:
        if "defuse" in known:
            found["defuse"] = False
        elif is_typed(context, "keep_formulas"):
            raise _has_no_use(context, "keep_formulas", OPTION_TARGETS["defuse"])
    return found


def _has_no_use(context: click.Context, name: str, targets: str) -> click.UsageError:
    return click.UsageError(f"{format_option(name)} is only for {targets}: leave it out.", context)


def _build_filters(context: click.Context, options: dict[str, Any]) -> Filters:
    inboxes, by_inbox = options["inbox"], options["by_inbox"]
    if inboxes and by_inbox:
        # If the user typed only one of the two options, it overrides the other one in the settings.
        order = get_precedence(context, "inbox") - get_precedence(context, "by_inbox")
        if order == 0:
            raise ConfigurationError("--by-inbox reads all inboxes: leave out either it or --inbox")
        inboxes, by_inbox = (inboxes, False) if order > 0 else ((), True)
    return build_filters(
        inboxes,
        options["status"],
        by_inbox=by_inbox,
        since=options["since"],
        until=options["until"],
    )


def _get_account(context: click.Context, account: str | None) -> str | None:
    """Return the name of the account. A sandbox needs one, because its port changes in each run."""
    if not context.params["sandbox"] or is_typed(context, "account"):
        return account
    return f"sandbox of {context.params['sandbox_size']}"


def _find_metrics_file(context: click.Context, target: str, options: dict[str, Any]) -> Path | None:
    """Return the path of the metrics file, or ``None`` if no metrics are wanted.

    Raises:
        ConfigurationError: The file cannot be written, or is one of the export's own files.
    """
    name = options["metrics_file"]
    if name is None or (context.params["sandbox"] and not is_typed(context, "metrics_file")):
        return None
    path = Path(name)
    require_metrics_place(path)
    for other in (target, options["checkpoint"]):
        if other not in {None, STDOUT} and _is_own_file(path, other):
            raise ConfigurationError(
                f"--metrics-file {path} belongs to the target or the checkpoint: choose another "
                "file"
            )
    return path


def _is_own_file(path: Path, own: str) -> bool:
    """Return whether a path is the file or folder ``own``, is inside it, or is named after it."""
    real, base = Path(os.path.realpath(path)), Path(os.path.realpath(own))
    if base in {real, *real.parents}:
        return True
    # Examples are x.jsonl.checkpoint and x.sqlite-wal. No file of an export ends in .prom.
    is_named_after = real.name.startswith((f"{base.name}.", f"{base.name}-"))
    return real.parent == base.parent and is_named_after and real.suffix != ".prom"
