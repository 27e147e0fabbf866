"""The options of the listing commands that select records and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from cekat_async.cli.options import option, text
from cekat_async.cli.parameter_types import OptionGroup, SingleOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.cli.commands.listing_columns import RecordKind, ShownColumn

__all__ = ["DEFAULT_ROWS", "agent_option", "columns_option", "json_option", "maximum_option"]

F = TypeVar("F", bound="Callable[..., Any]")

DEFAULT_ROWS = 20
"""The number of conversations that a table shows without ``-n``."""

agent_option = option(
    "--agent",
    group=OptionGroup.WHAT_TO_LIST,
    cls=SingleOption,
    **text(
        "NAME",
        "Only this agent, by id or name. The API cannot filter by agent, so this reads "
        "conversations until it finds N.",
    ),
)
maximum_option = option(
    "-n",
    "--max",
    "maximum",
    group=OptionGroup.HOW_TO_SHOW,
    type=click.IntRange(min=1),
    metavar="N",
    show_default=f"{DEFAULT_ROWS} in a table, all otherwise",
    help="Show at most N.",
)
json_option = option(
    "--json",
    "as_json",
    group=OptionGroup.HOW_TO_SHOW,
    is_flag=True,
    help="Write JSON Lines as the API sent them, as in a pipe.",
)


def columns_option(kind: RecordKind) -> Callable[[F], F]:
    """Return the option that chooses the columns of a table of this kind of record."""

    def parse(value: str) -> list[ShownColumn]:
        # This import loads the record types, which help and completion do not need.
        from cekat_async.cli.commands.listing_columns import (  # noqa: PLC0415
            get_column_names,
            parse_columns,
        )

        context = click.get_current_context()
        if value == "help" and not context.resilient_parsing:  # not for shell completion
            click.echo("\n".join(get_column_names(kind)))
            context.exit()
        return parse_columns(value, kind)

    def complete(
        _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[str]:
        from cekat_async.cli.commands.listing_columns import get_column_names  # noqa: PLC0415

        typed, comma, _ = incomplete.rpartition(",")
        names = [f"{typed}{comma}{name}" for name in get_column_names(kind)]
        return [name for name in names if name.startswith(incomplete)]

    return option(
        "--columns",
        group=OptionGroup.HOW_TO_SHOW,
        type=parse,
        metavar="A,B,...",
        shell_complete=complete,
        help="Show these columns. '--columns help' lists them. In a pipe, tabs separate the "
        "values.",
    )
