"""The reference on the site has every public name, and shows docstrings as links and code."""

import dataclasses
import importlib
import inspect
import re
import zlib
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType

import click
import pytest

import cekat_async
from cekat_async.cli.app import app
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes

from .conftest import ROOT

MODULES = [
    importlib.import_module(name)
    for name in (
        "cekat_async",
        "cekat_async.budgets",
        "cekat_async.export",
        "cekat_async.frames",
        "cekat_async.sandbox",
        "cekat_async.telemetry",
    )
]
FIXTURES = ("cekat_sandbox", "cekat_client", "cekat_faults", "cekat_sandbox_options")
# These names have no page of their own: the version, and the module with all errors.
NO_OBJECTS = {"cekat_async.__version__", "cekat_async.errors"}


def find_objects() -> dict[str, object]:
    """Return all public objects by their paths."""
    public = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in MODULES
        for name in module.__all__
    }
    resources = {f"{kind.__module__}.{kind.__name__}": kind for kind in (Conversations, Inboxes)}
    fixtures = {f"cekat_async.pytest_plugin.{name}": None for name in FIXTURES}
    return {
        path: value
        for path, value in (public | resources | fixtures).items()
        if path not in NO_OBJECTS and not isinstance(value, ModuleType)
    }


OBJECTS = find_objects()
CLASSES = {path: value for path, value in OBJECTS.items() if isinstance(value, type)}
# Only the package itself calls these methods.
INTERNAL = {*(ROOT / ".ci" / "site" / "internal.txt").read_text(encoding="utf-8").split()}


@cache
def read_inventory(site: Path) -> set[str]:
    """Return the names that objects.inv lists."""
    *_, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    return {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}


def find_members(owner: type) -> set[str]:
    """Return the public methods, properties and fields that a class itself defines."""
    methods = {
        name
        for name, value in vars(owner).items()
        if isinstance(value, (property, classmethod, staticmethod, FunctionType))
    }
    fields = {*inspect.get_annotations(owner)}
    if dataclasses.is_dataclass(owner):
        fields |= {field.name for field in dataclasses.fields(owner)}
    return {name for name in methods | fields if not name.startswith("_")}


@pytest.mark.parametrize("path", OBJECTS)
def test_each_public_name_is_documented(path: str, site: Path) -> None:
    """Each public name has an entry in the reference."""
    assert path in read_inventory(site)


@pytest.mark.parametrize("path", CLASSES)
def test_each_public_member_is_documented(path: str, site: Path) -> None:
    """The reference has each method, property and field of a public class.

    An inherited one may be documented at the base class.
    """
    inventory = read_inventory(site)
    missing = [
        name
        for owner in CLASSES[path].__mro__
        if owner.__module__.startswith("cekat_async")
        for name in find_members(owner)
        if f"{owner.__name__}.{name}" not in INTERNAL
        and not any(
            f"{other}.{name}" in inventory
            for other, kind in CLASSES.items()
            if owner in kind.__mro__
        )
    ]

    assert missing == []


def test_internal_methods_are_not_shown(site: Path) -> None:
    """The reference leaves out each method that only the package itself can call."""
    assert {f"cekat_async.{name}" for name in INTERNAL} & read_inventory(site) == set()


def test_nothing_of_the_source_is_left(site: Path) -> None:
    """No page shows a role, a prompt or a private name.

    Each reference and each citation is a link.
    """
    left = re.compile(
        r":(?:class|meth|func|attr|exc|mod|data):|</code>\]\[|>&gt;&gt;&gt; |```"
        r"|docs/\w+\.md|>_[A-Z]\w+<"
    )
    found = {
        (str(path.relative_to(site)), match.group())
        for path in (site / "reference" / "python").rglob("*.html")
        for match in left.finditer(path.read_text(encoding="utf-8"))
    }

    assert found == set()


@pytest.mark.parametrize("command", [None, *app.commands])
def test_each_option_is_documented(command: str | None, site: Path) -> None:
    """The reference of the command line has each command. It has an anchor for each option."""
    text = (site / "reference" / "cli" / "index.html").read_text(encoding="utf-8")
    anchor = "cekat" if command is None else f"cekat-{command}"
    parameters = app.params if command is None else app.commands[command].params
    options = [one for one in parameters if isinstance(one, click.Option) and not one.hidden]

    assert f'<h2 id="{anchor}">' in text
    assert options
    for option in options:
        assert f'id="{anchor}{max(option.opts, key=len)}"' in text


def test_the_errors_are_one_page(site: Path) -> None:
    """The page of errors has each error."""
    text = (site / "reference" / "python" / "errors" / "index.html").read_text(encoding="utf-8")

    for name in cekat_async.errors.__all__:
        assert f'id="cekat_async.{name}"' in text
