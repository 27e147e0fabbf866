"""What ``cekat export`` is asked for."""

from __future__ import annotations

import os
from typing import Any

import click
import msgspec

from cekat_async.cli.options import is_typed, strength
from cekat_async.export.checks import build_filters
from cekat_async.export.manifest import Filters
from cekat_async.export.targets import options_of, sink_for

__all__ = ["STDOUT", "Wanted", "wanted"]

STDOUT = "-"
"""The target that is standard output."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be exported, where to, and how."""

    target: str
    filters: Filters
    sink_options: dict[str, Any]
    incremental: bool
    restart: bool
    replace: bool
    allow_empty: bool
    concurrency: int
    account: str | None
    checkpoint: str | None


def wanted(context: click.Context, **options: Any) -> Wanted:
    """Return what the options of ``cekat export`` come to.

    Raises:
        click.UsageError: One was given that has no say beside the others.
        ConfigurationError: The target is none, an option means nothing for it, or the filters make
            no sense.
    """
    target = options["target"]
    # Before Arrow is imported: its own allocators keep some ten megabytes more.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _require_meant(context, target, options)
    names = ("incremental", "restart", "replace", "allow_empty", "concurrency", "checkpoint")
    return Wanted(
        target=target,
        filters=_filters(context, options),
        sink_options=_sink_options(context, target, options),
        account=_account(context, options["account"]),
        **{name: options[name] for name in names},
    )


def _filters(context: click.Context, options: dict[str, Any]) -> Filters:
    inboxes, by_inbox = options["inbox"], options["by_inbox"]
    if inboxes and by_inbox:
        # The one that was typed means that the other one, of the settings, is not wanted now.
        lead = strength(context, "inbox") - strength(context, "by_inbox")
        inboxes, by_inbox = inboxes if lead >= 0 else (), lead <= 0
    return build_filters(inboxes, options["status"], by_inbox=by_inbox)


def _account(context: click.Context, account: str | None) -> str | None:
    """Return the name of the account; a sandbox has another port and another key each time."""
    if not context.params["sandbox"] or is_typed(context, "account"):
        return account
    return f"sandbox of {context.params['sandbox_size']}"


def _require_meant(context: click.Context, target: str, options: dict[str, Any]) -> None:
    """Refuse what cannot be meant, with a sandbox or with standard output."""
    if context.params["sandbox"] and not is_typed(context, "target"):
        raise click.UsageError(
            "--sandbox needs a TARGET that is typed: that of the settings is for what is real.",
            context,
        )
    for name in ("replace", "allow_empty"):
        if options[name] and is_typed(context, name) and not _is_replaced(target):
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} is for files and folders: it has no use here.", context
            )
    if target != STDOUT:
        return
    if options["incremental"] and is_typed(context, "incremental"):
        raise click.UsageError("--incremental means nothing with -: use --full.", context)
    if options["restart"] and not options["checkpoint"]:
        raise click.UsageError("--restart means nothing with -, without --checkpoint.", context)


def _is_replaced(target: str) -> bool:
    """Whether each export replaces the target: standard output and databases are not."""
    return target != STDOUT and "table" not in options_of(target)


def _sink_options(context: click.Context, target: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the sink; those of settings that it does not have are passed over."""
    found: dict[str, Any] = {}
    known = options_of(target)
    if options["table"] is not None and ("table" in known or is_typed(context, "table")):
        found["table"] = options["table"]
    if options["keep_formulas"] and ("defuse" in known or is_typed(context, "keep_formulas")):
        found["defuse"] = False
    if not known.issuperset(found):
        sink_for(target, **found)  # which says what they are for
    return found
