"""Docstrings as Markdown, so that mkdocstrings can show docstrings with roles and doctests.

Docstrings are also read in editors and by ``help()``, so they use roles
(``:class:`~cekat_async.Listing` ``), ``::`` before code, and examples with prompts. This extension
of griffe turns roles into links, and examples into code that can be copied.
"""

from __future__ import annotations

import builtins
import re
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from griffe import AliasResolutionError, Extension

if TYPE_CHECKING:
    from collections.abc import Iterable

    from griffe import Class, Module, Object

ROLE = re.compile(r":[a-z]+:`(~?)([\w.]+)`")
# Libraries whose names are not part of this site, besides the standard library.
LIBRARIES = {"aiohttp", "msgspec", "pandas", "polars", "pyarrow", "pydantic"}
PROMPTS = (">>> ", "... ")
# A page of the documentation, as docstrings cite it. The site shows all docstrings two folders
# deep.
CITATION = re.compile(r"\(docs/(api\.md#[\w-]+)\)")
# Only the package itself can call these methods, so the site does not show them.
INTERNAL = {*Path(__file__).with_name("internal.txt").read_text(encoding="utf-8").split()}
# Modules whose public names are on the site. The first of them is the package.
PUBLIC_MODULES = (
    "",
    "budgets",
    "errors",
    "export",
    "frames",
    "pytest_plugin",
    "resources.conversations",
    "resources.inboxes",
    "sandbox",
    "telemetry",
)
ARGUMENTS = re.compile(r"^Args:\n", re.MULTILINE)
ATTRIBUTES = re.compile(r"^Attributes:\n", re.MULTILINE)
FIELDS = re.compile(r"^Attributes:\n((?:(?: .*)?\n?)*)", re.MULTILINE)
# The heading of a section, and the indented lines under it.
EXAMPLE = re.compile(r"^Examples?:\n((?:(?: .*)?\n?)*)", re.MULTILINE)


class RolesToMarkdown(Extension):
    """Rewrite each docstring of the package before griffe parses it."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Rewrite all docstrings, after every name to which they may refer has been loaded."""
        objects = [*find_objects(pkg)]
        for documented in objects:
            show_values(documented)
            if documented.is_class:
                complete_fields(documented)
                hide_internals(documented)
        for documented in objects:
            if documented.docstring:
                documented.docstring.value = to_markdown(documented.docstring.value, documented)


def find_objects(owner: Object) -> Iterable[Object]:
    """Yield an object and everything that it contains, except its imports."""
    yield owner
    for member in owner.members.values():
        if not member.is_alias:
            yield from find_objects(member)


def to_markdown(text: str, documented: Object) -> str:
    """Return a docstring with links in place of roles, and with fenced blocks for code."""
    text = EXAMPLE.sub(lambda section: f"**Example:**\n\n{dedent(section.group(1))}", text)
    blocks = "\n".join(fence_code(text.splitlines()))
    linked = CITATION.sub(r"([the API](../../\1))", blocks)
    return ROLE.sub(lambda role: link_role(role, documented), linked)


def link_role(role: re.Match[str], documented: Object) -> str:
    """Return a link for the name in a role, or only code if this site does not have the name."""
    is_short, name = role.groups()
    shown = name.rpartition(".")[2] if is_short else name
    if name.partition(".")[0] in sys.stdlib_module_names | LIBRARIES | set(dir(builtins)):
        return f"`{shown}`"
    target = find_target(name, documented)
    if target is not None and not is_public(target):
        return f"`{shown}`"
    # An unknown name remains a link, so that the strict build reports it.
    return f"[`{shown}`][{target.path if target else name}]"


def find_target(name: str, documented: Object) -> Object | None:
    """Return the object that a docstring calls ``name``.

    The name may be that of a member, of a neighbour, or of a public object.
    """
    scope: Object | None = documented
    while scope is not None:
        if (target := find_member(scope, name.removeprefix(f"{scope.path}."))) is not None:
            return target
        scope = scope.parent
    return None


def find_member(scope: Object, name: str) -> Object | None:
    """Return the object that a name means in a scope. The object may be inherited."""
    found: Any = scope
    for part in name.split("."):
        members = found.all_members if found.is_class else found.members
        if part not in members:
            return None
        found = members[part]
        if found.is_alias:
            try:
                found = found.final_target
            except AliasResolutionError:  # the name belongs to a library that is not loaded
                return None
    return found  # type: ignore[no-any-return]


def is_public(found: Object) -> bool:
    """Return whether a public module exports an object.

    For a member of a class, return whether the module exports the class.
    """
    owner = found.parent if found.parent is not None and found.parent.is_class else found
    modules = (found.package[name] if name else found.package for name in PUBLIC_MODULES)
    return any(owner.name in (module.exports or ()) for module in modules)


def complete_fields(owner: Class) -> None:
    """Document all fields of a class as attributes, even the fields of structs and hidden bases.

    A struct documents its fields as arguments. Its base class may not be part of the reference, and
    griffe does not know that.
    """
    if owner.docstring is None or not is_public(owner):
        return
    text = owner.docstring.value
    if "__init__" not in owner.members and ARGUMENTS.search(text):
        text = ARGUMENTS.sub("Attributes:\n", text)
    for base in owner.mro():
        if (
            base.docstring
            and not is_public(base)
            and (fields := FIELDS.search(base.docstring.value))
        ):
            text = add_fields(text, fields.group(1))
    owner.docstring.value = text


def hide_internals(owner: Class) -> None:
    """Remove the methods that only the package itself can call."""
    for name in [name for name in owner.members if f"{owner.name}.{name}" in INTERNAL]:
        owner.del_member(name)


def show_values(documented: Object) -> None:
    """Show the values of private constants and types in signatures, instead of their names."""
    if documented.is_attribute:
        documented.annotation = find_value(documented.annotation, documented)
    elif documented.is_function:
        for parameter in documented.parameters:
            parameter.default = find_value(parameter.default, documented)


def find_value(expression: Any, documented: Object) -> Any:
    """Return the value of a private name of the module. Return any other expression unchanged."""
    name = str(expression)
    found = documented.module.members.get(name) if name.startswith("_") else None
    return found.value if found is not None and found.is_attribute else expression


def add_fields(text: str, fields: str) -> str:
    """Return a docstring with more fields before its own fields."""
    if ATTRIBUTES.search(text):
        return ATTRIBUTES.sub(
            lambda heading: heading.group() + fields.rstrip() + "\n", text, count=1
        )
    return f"{text}\n\nAttributes:\n{fields}"


def fence_code(lines: list[str]) -> Iterable[str]:
    """Yield lines with fences around doctests and around indented text after ``::``."""
    number = 0
    while number < len(lines):
        line = lines[number]
        if line.lstrip().startswith(PROMPTS[0]):
            number, block = take_doctest(lines, number)
            yield from fence(block, line, "python")
        elif line.rstrip().endswith("::") and (end := end_of_indented(lines, number)):
            if shown := line.rstrip().removesuffix("::").rstrip():
                yield f"{shown}:"
            block = lines[number + 1 : end]
            yield from fence(block, line, guess_language(block))
            number = end
        else:
            yield line
            number += 1


def take_doctest(lines: list[str], start: int) -> tuple[int, list[str]]:
    """Return the end of a doctest and its code.

    The code has no prompts, and the output in the doctest becomes comments.
    """
    block = []
    for number, line in enumerate(lines[start:], start):  # noqa: B007 - the last one is used
        text = line.strip()
        if not text:
            break
        if text.startswith(PROMPTS) or text in {">>>", "..."}:
            block.append(line.lstrip()[4:])
        else:
            block.append(f"# {text}")
    else:
        number = len(lines)
    return number, block


def end_of_indented(lines: list[str], start: int) -> int:
    """Return the end of a block whose later lines are indented deeper, or 0 for no block."""
    indent = get_indent(lines[start])
    end = start + 1
    last = 0
    while end < len(lines) and (not lines[end].strip() or get_indent(lines[end]) > indent):
        end += 1
        last = end if lines[end - 1].strip() else last
    return last


def guess_language(block: list[str]) -> str:
    """Return the language of a block: Python, unless it cannot be."""
    try:
        compile(dedent("\n".join(block)), "", "exec", flags=0x2000)  # top-level await
    except SyntaxError:
        return "text"
    return "python"


def fence(block: list[str], before: str, language: str) -> Iterable[str]:
    """Yield a block between fences, which are indented like the line before the block."""
    indent = " " * get_indent(before)
    yield from ("", f"{indent}```{language}")
    yield from (
        f"{indent}{line}".rstrip() for line in dedent("\n".join(block)).strip("\n").split("\n")
    )
    yield from (f"{indent}```", "")


def get_indent(line: str) -> int:
    """Return the number of spaces before a line."""
    return len(line) - len(line.lstrip(" "))
