"""The macro ``describe_commands`` builds the reference of the command line from its commands."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from cekat_async.cli.app import app
from cekat_async.cli.parameter_types import OptionGroup

if TYPE_CHECKING:
    from collections.abc import Iterator


def define_env(env: Any) -> None:
    """Register the macro."""
    env.macro(describe_commands)


def describe_commands() -> str:
    """Return the Markdown that describes ``cekat`` and each of its commands."""
    parent = click.Context(app, info_name="cekat")
    contexts = [
        parent,
        *(
            click.Context(command, info_name=name, parent=parent)
            for name, command in app.commands.items()
        ),
    ]
    return "\n".join(line for context in contexts for line in describe_command(context))


def describe_command(context: click.Context) -> Iterator[str]:
    """Yield the lines about one command: its text, its usage, and its options in groups."""
    command = context.command
    anchor = context.command_path.replace(" ", "-")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from (
        f"## `{context.command_path}` {{ #{anchor} }}",
        "",
        inspect.cleandoc(command.help or ""),
        "",
    )
    yield from ("```text", usage, "```", "")
    groups = group_options(context)
    for group, options in groups.items():
        if len(groups) > 1:
            yield from (f"### {group} {{ #{anchor}-{group.lower().replace(' ', '-')} }}", "")
        for option in options:
            yield from describe_option(option, context, anchor)


def group_options(context: click.Context) -> dict[str, list[click.Option]]:
    """Return the options of a command, grouped by the headings in its help."""
    groups: dict[str, list[click.Option]] = {group: [] for group in OptionGroup}
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            # `--help` is click's own option.
            groups[getattr(parameter, "group", OptionGroup.HELP)].append(parameter)
    return {group: options for group, options in groups.items() if options}


def describe_option(option: click.Option, context: click.Context, anchor: str) -> Iterator[str]:
    """Yield an entry of a definition list: the option, its meaning, and other ways to set it."""
    names, text = option.get_help_record(context) or ("", "")
    text, _, extra = text.partition("  [")
    first = max(option.opts, key=len)
    notes = [describe_extra(one) for one in extra.removesuffix("]").split("; ") if one]
    if option.envvar:
        notes.append(f"Environment: `{option.envvar}`.")
    yield from (f"`{names}`{{ #{anchor}{first} }}", f":   {' '.join([text, *notes])}", "")


def describe_extra(extra: str) -> str:
    """Return a sentence in place of the help's brackets, which contain a default or a range."""
    default = extra.removeprefix("default: ")
    if default == extra:
        return f"Range: {extra.replace('x>=', 'at least ').replace('x<=', 'at most ')}."
    # A default of several words is a description, such as "next to the target".
    return f"Default: {default}." if " " in default else f"Default: `{default}`."
