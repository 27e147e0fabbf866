"""Docstrings of public names are complete, and their examples print the output that they show."""

import ast
import asyncio
import builtins
import contextlib
import doctest
import inspect
import io
import itertools
import re
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import cekat_async
from cekat_async import (
    CekatClient,
    Listing,
    budgets,
    errors,
    export,
    frames,
    pages,
    pytest_plugin,
    sandbox,
    telemetry,
)
from cekat_async._request.pipeline import Traffic
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from cekat_async.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
MODULES = (cekat_async, export, frames, budgets, telemetry, sandbox)

# A section of a docstring in Google style, and an entry of a section.
SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises|Examples):\n((?:    .*\n?|\n)+)", re.MULTILINE
)
ENTRY = re.compile(r"^    (\*{0,2}\w+):", re.MULTILINE)

# Only the package itself calls these, so they need no example, and the site does not show them.
INTERNAL = {*(ROOT / ".ci" / "site" / "internal.txt").read_text(encoding="utf-8").split()}

EXPORTED = {name for module in MODULES for name in module.__all__}
# Users get objects of these classes from a client, and never call the constructors.
MADE_BY_THE_PACKAGE = {Conversations, Inboxes, Listing}


class Public(NamedTuple):
    """A public class, function, method or property."""

    name: str
    value: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.value.__doc__ or "")

    @property
    def function(self) -> Callable[..., Any]:
        return inspect.unwrap(getattr(self.value, "__func__", self.value))

    @property
    def sections(self) -> dict[str, str]:
        return {found[1]: found[2] for found in SECTION.finditer(self.doc)}

    def entries(self, *sections: str) -> set[str]:
        text = "".join(self.sections.get(section, "") for section in sections)
        return set(ENTRY.findall(text))

    @property
    def examples(self) -> list[doctest.Example]:
        return doctest.DocTestParser().get_examples(self.doc)


def is_ours(value: Any) -> bool:
    return getattr(value, "__module__", "").startswith("cekat_async")


def find_classes() -> dict[str, type]:
    found = [getattr(module, name) for module in MODULES for name in module.__all__]
    # Users get objects of these classes from public names.
    found += [Conversations, Inboxes, Traffic, pages.Page, pages.ExtraFields]
    classes = [one for one in found if isinstance(one, type) and is_ours(one)]
    # If a public class inherits a member from another class of the package, the member is public
    # too.
    owners = [owner for one in classes for owner in one.__mro__ if is_ours(owner)]
    return {one.__name__: one for one in (*classes, *owners)}


def find_members(owner: type) -> Iterator[Public]:
    for name, member in vars(owner).items():
        kinds = (property, classmethod, staticmethod, types.FunctionType)
        if isinstance(member, kinds) and not name.startswith("_"):
            yield Public(f"{owner.__name__}.{name}", member, owner)


CLASSES = [Public(name, value) for name, value in find_classes().items()]
MEMBERS = [member for one in CLASSES for member in find_members(one.value)]
FUNCTIONS = [
    Public(name, getattr(module, name))
    for module in MODULES
    for name in module.__all__
    if inspect.isroutine(getattr(module, name))
]
METHODS = [member for member in MEMBERS if not isinstance(member.value, property)]
PROPERTIES = [member for member in MEMBERS if isinstance(member.value, property)]
# The docstring of the sandbox has a whole program, which tests/test_docs.py runs.
OVERVIEWS = [Public(one.__name__, one) for one in MODULES if one is not sandbox]
FIXTURES = [Public(name, getattr(pytest_plugin, name)) for name in pytest_plugin.__all__]


def each(*groups: list[Public]) -> pytest.MarkDecorator:
    found = [one for group in groups for one in group]
    return pytest.mark.parametrize("public", found, ids=[one.name for one in found])


def is_protocol(owner: type | None) -> bool:
    return bool(getattr(owner, "_is_protocol", False))


def get_parameters(function: Callable[..., Any]) -> set[str]:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return {
        stars.get(one.kind, "") + one.name
        for one in inspect.signature(function).parameters.values()
        if one.name not in {"self", "cls"}
    }


def get_fields(kind: type) -> set[str]:
    """Return the names of a class's public attributes and of its constructor's arguments."""
    if issubclass(kind, msgspec.Struct):
        return {one for one in kind.__struct_fields__ if not one.startswith("_")}
    declared = {name for name in vars(kind).get("__annotations__", {}) if not name.startswith("_")}
    is_made_by_users = not (
        kind in MADE_BY_THE_PACKAGE or kind.__name__ not in EXPORTED or is_protocol(kind)
    )
    constructor = vars(kind).get("__init__") if is_made_by_users else None
    return declared | (get_parameters(constructor) if constructor else set())


@each(CLASSES, FUNCTIONS, METHODS, PROPERTIES, FIXTURES)
def test_the_docstring_begins_with_a_sentence(public):
    """The docstring of each public name begins with a single sentence on a single line."""
    first, *rest = public.doc.splitlines() or [""]

    assert first.endswith((".", ":"))
    assert not rest or not rest[0]


@each(FUNCTIONS, METHODS)
def test_every_parameter_is_documented(public):
    """The section ``Args`` of a function has exactly one entry for each parameter."""
    assert public.entries("Args") == get_parameters(public.function)


def find_attribute_docstrings(kind: type) -> set[str]:
    """Return the attributes of a class that have a docstring after their declaration."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
    return {
        node.target.id
        for node, after in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


@each(CLASSES)
def test_every_attribute_is_documented(public):
    """Each attribute and each argument of a class is documented in the class or in a base class."""
    documented = {
        name
        for owner in public.value.__mro__
        if is_ours(owner)
        for name in Public("", owner).entries("Args", "Attributes")
    }
    documented |= find_attribute_docstrings(public.value)

    assert get_fields(public.value) - documented == set()


@each(CLASSES, FUNCTIONS, METHODS)
def test_each_entry_explains_itself(public):
    """No entry merely refers to another docstring, because editors show one docstring at a time."""
    text = "".join(public.sections.values())

    assert re.findall(r"^ +\S+: (?:As|See|Like) (?:for|in|of|:).*", text, re.MULTILINE) == []


@each(FUNCTIONS, METHODS)
def test_the_result_is_documented(public):
    """If a function returns something, its first sentence or a section says so."""
    returned = public.function.__annotations__.get("return")
    first = public.doc.splitlines()[0]
    says_so = re.search(r"(^|\. |[Aa]nd )(return|yield)\b", first, re.IGNORECASE)

    assert returned in {None, "None"} or says_so or {"Returns", "Yields"} & {*public.sections}


def find_raised(function: Callable[..., Any]) -> set[str]:
    """Return the exceptions that a function raises directly."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):
        return set()
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    names = [one.func if isinstance(one, ast.Call) else one for one in raised]
    classes = {one.id for one in names if isinstance(one, ast.Name) and one.id[0].isupper()}
    return classes - {"NotImplementedError"}


@each(CLASSES, FUNCTIONS, METHODS, PROPERTIES)
def test_documented_exceptions_exist(public):
    """``Raises`` names existing classes, and includes each exception that is raised directly."""
    documented = {
        name.removeprefix("msgspec.").removeprefix("json.")
        for name in re.findall(r"^    ([\w.]+):", public.sections.get("Raises", ""), re.MULTILINE)
    }
    known = {*errors.__all__, *vars(builtins), "DecodeError"}
    function = public.value.fget if isinstance(public.value, property) else public.function

    assert documented <= known
    assert isinstance(public.value, type) or find_raised(function) <= documented


def needs_example(public: Public) -> bool:
    if isinstance(public.value, type):
        return bool({"Args", "Raises"} & {*public.sections}) or is_protocol(public.value)
    return not is_protocol(public.owner) and public.name not in INTERNAL


@each([one for one in (*CLASSES, *FUNCTIONS, *METHODS) if needs_example(one)])
def test_there_is_an_example(public):
    """Functions and methods have an example, and so do classes that users make or implement."""
    assert "Examples" in public.sections
    assert public.examples


@each(OVERVIEWS)
def test_a_module_has_an_example(public):
    """The docstring of each public module has an example."""
    assert public.examples


DOCUMENTED = (*OVERVIEWS, *CLASSES, *FUNCTIONS, *METHODS, *PROPERTIES)
WITH_EXAMPLES = [one for one in DOCUMENTED if one.examples]


@pytest.fixture
async def names(tmp_path, monkeypatch):
    """The names that an example can use, such as an open client, its sandbox and public names."""
    monkeypatch.chdir(tmp_path)
    async with Sandbox(conversations=250, quota=None) as running:
        monkeypatch.setenv("CEKAT_API_KEY", running.api_key)
        monkeypatch.setenv("CEKAT_BASE_URL", running.base_url)
        public = {name: getattr(one, name) for one in MODULES for name in one.__all__}
        async with CekatClient() as cekat:
            yield public | {"cekat": cekat, "sandbox": running}


async def run(example: doctest.Example, names: dict[str, Any]) -> str:
    """Run an example like Python's interactive prompt, and return the output."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(example.source, "<example>", "single", flags=flags)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        coroutine = eval(code, names)  # noqa: S307 - our own documentation
        if asyncio.iscoroutine(coroutine):
            await coroutine
    return printed.getvalue()


@each(WITH_EXAMPLES)
async def test_examples_run(public, names):
    """The examples in a docstring run unchanged, and print the output that they show."""
    checker = doctest.OutputChecker()
    for example in public.examples:
        printed = await run(example, names)

        # An example that shows no output may still print something that is too long to show.
        assert not example.want or checker.check_output(example.want, printed, 0), printed


def test_gaps_are_found():
    """A docstring without its parameters, exceptions and example fails these tests."""

    def get(one: int, *others: int, **options: int) -> int:
        """Do something.

        Args:
            one: See :func:`other`.
        """
        raise ValueError

    gap = Public("get", get)

    assert gap.entries("Args") == {"one"}
    assert get_parameters(get) == {"one", "*others", "**options"}
    assert find_raised(get) == {"ValueError"}
    assert needs_example(gap)
    for check in (
        test_every_parameter_is_documented,
        test_each_entry_explains_itself,
        test_the_result_is_documented,
        test_documented_exceptions_exist,
        test_there_is_an_example,
    ):
        with pytest.raises(AssertionError):
            check(gap)
