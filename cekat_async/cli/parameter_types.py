"""The types of options and arguments, such as text, file names, rates and switches.

The help shows options under headings. The heading of an option is its :class:`OptionGroup`.
"""

# click does not declare the types of values.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from cekat_async import ConfigurationError, RateLimit
from cekat_async.redaction import readable
from cekat_async.resources.time_range import parse_bound

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "GroupedCommand",
    "Option",
    "OptionGroup",
    "SingleOption",
    "Switch",
    "complete_file_name",
    "parse_file_name",
    "parse_moment",
    "parse_rate_limit",
    "parse_share",
    "parse_target",
    "parse_text",
]


def parse_text(value: str) -> str:
    """Decode an argument as UTF-8, even if the locale has another encoding."""
    if not value.strip():
        raise click.BadParameter("it is empty.")
    return _decode(value)


def parse_file_name(value: str) -> str:
    """Return the name of a file unchanged, because it may consist of any bytes."""
    return value


def parse_target(value: str) -> str:
    """Return the name of a file unchanged, or the URL of a database as text."""
    return _decode(value) if "://" in value else value


def parse_rate_limit(value: str) -> RateLimit | None:
    """Return the rate for a text like ``300/60``, which means 300 requests in 60 seconds.

    ``300`` means the same. ``auto`` means the rate that the server reports, and ``off`` means no
    rate limit.
    """
    if value in {"auto", "off"}:
        return RateLimit() if value == "auto" else None
    requests, slash, seconds = value.partition("/")
    try:
        return RateLimit(int(requests), float(seconds if slash else 60))
    except ValueError as error:  # including a ConfigurationError, whose text is more precise
        reason = str(error) if isinstance(error, ConfigurationError) else f"not {value!r}"
    raise click.BadParameter(f"write it like 300/60, or auto, or off ({reason}).")


def parse_share(value: str) -> float:
    """Return the share of the server's quota that a command uses: above 0, and at most 1."""
    try:
        return RateLimit(share=float(value)).share
    except ValueError:
        reason = f"a number above 0, and at most 1 (not {value!r})"
    raise click.BadParameter(f"write it like 0.5, {reason}.")


def parse_moment(value: str) -> str:
    """Return the text unchanged if it is a date, a time or a duration before now."""
    try:
        parse_bound(value)
    except ConfigurationError:
        raise click.BadParameter(
            f"write it like 3d, 12h, 2026-11-01, or 2026-11-01T08:00+07:00 (not {value!r})."
        ) from None
    return value


def _decode(value: str) -> str:
    if value == readable(value):
        return value
    try:
        return os.fsencode(value).decode()
    except UnicodeError:
        # Do not show the value in the message, because a URL may contain a password.
        raise click.BadParameter("it is not text in UTF-8.") from None


def complete_file_name(
    context: click.Context,  # noqa: ARG001 - click's own signature
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Let the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


class OptionGroup(StrEnum):
    """The headings of options, in the order in which the help shows them."""

    WHAT_TO_EXPORT = "What to export"
    WHAT_TO_LIST = "What to list"
    HOW_TO_SHOW = "How to show"
    HOW_TO_WRITE = "How to write"
    RESUMING = "Resuming"
    CONNECTION = "Connection"
    SANDBOX = "Sandbox"
    SETTINGS = "Settings"
    LOGGING = "Logging"
    HELP = "Help"


class Option(click.Option):
    """An option with a heading, under which the help shows it."""

    def __init__(self, *arguments: Any, group: OptionGroup, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help shows the options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: D102 - click's
        rows: dict[OptionGroup, list[tuple[str, str]]] = {group: [] for group in OptionGroup}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                # `--help` is click's own option, which has no group.
                rows[getattr(parameter, "group", OptionGroup.HELP)].append(record)
        width = max(len(names) for group in rows.values() for names, _ in group)
        for group, records in rows.items():
            if records:
                with formatter.section(group):
                    # Pad the names, so that the texts of all groups begin in the same column.
                    formatter.write_dl([(names.ljust(width), text) for names, text in records])


class Switch(Option):
    """A switch whose ``--no-…`` form overrides a settings file or a variable that turns it on.

    The help does not show this form, which all switches have.
    """

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:  # noqa: D102 - click's
        off, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = off


class SingleOption(Option):
    """An option that users may type only once. For other options, the last value counts."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:  # noqa: D102 - click's
        # This makes the parser collect all values, so that a second value is noticed.
        self.multiple = True
        super().add_to_parser(parser, ctx)
        self.multiple = False

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, Any]:  # noqa: D102 - click's
        value, source = super().consume_value(ctx, opts)
        if not isinstance(value, list):
            return value, source
        if len(value) > 1:
            raise click.BadParameter("it can be given only once.", ctx, self)
        return value[0], source
