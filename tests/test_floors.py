"""The house: a file imports only from floors below its own, and the lower floors do no I/O."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import cekat_async

ROOT = Path(cekat_async.__file__).parent

# From the ground up. What stands on one floor knows nothing of its neighbours, except for their
# types. A folder stands on a floor as a whole.
FLOORS = [
    {"positions", "_version", "_raw_json"},  # values
    {"errors", "models"},  # values as well
    {"_seen", "_timeline"},  # rules
    {
        "config",
        "_wire",
        "_cursor_walk",
        "_ledger",
        "_hold",
        "_trust",
        "_turn",
    },  # rules as well
    {
        "_walk",
        "_record_decoding",
        "_quota",
        "_belief",
        "_reports",
        "_segment",
    },  # on top of those
    {"_decode"},
    {"_pace", "_unpaced", "_splits", "_follow_up", "_catch_up"},  # and on top of these
    {"_segments"},
    {"_tracked"},
    {"_at_first_use", "_clock", "_cutoffs", "_failures", "_idle"},  # mechanisms
    {"_retry", "_even_pace", "_sharing", "_transport"},  # mechanisms as well
    {"_limiter"},  # on top of the pace and its mechanisms
    {"_pipeline", "_stream", "_listing", "_across"},  # the path of a request; tasks that walk ahead
    {"_ahead"},  # on top of these
    {"conversations", "inboxes"},  # rooms
    {"client"},  # the door
    {"__init__"},  # the door's name plate
    {"export", "sandbox", "budgets"},  # programs
    {"cli"},  # the shell
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
CORE = set().union(*FLOORS[: FLOOR["__init__"] + 1])
PURE = set().union(*FLOORS[: FLOOR["_tracked"] + 1])
PROGRAMS = sorted(set().union(*FLOORS[FLOOR["__init__"] + 1 :]))

# What a package has its public names from, which is no part of the core.
NAME_PLATE = {"_at_first_use"}

# All that the pure floors may stand on. None of it reads, writes, waits or starts anything.
HARMLESS = {
    "__future__",
    "array",
    "collections.Counter",
    "collections.abc",
    "collections.deque",
    "contextlib",
    "datetime",
    "email.utils",
    "enum",
    "hashlib.blake2b",
    "http.HTTPStatus",
    "ipaddress",
    "itertools",
    "math",
    "msgspec",
    "re",
    "types",
    "typing",
    "urllib.parse",
    "uuid.UUID",
}


class Import(NamedTuple):
    """One imported name, and whether only type checkers see it."""

    module: str
    name: str | None
    for_types: bool

    @property
    def target(self) -> str:
        """The first part behind the package's name: the file or the folder that is imported."""
        parts = self.module.split(".")
        if len(parts) == 1:
            return self.name if self.name in FLOOR else "__init__"
        return parts[1]

    @property
    def is_ours(self) -> bool:
        return self.module.split(".")[0] == "cekat_async"


def module_of(path: Path) -> str:
    parts = ("cekat_async", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@cache
def imports_of(path: Path) -> list[Import]:
    """Find every import of a file, those inside of functions too."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    return [*imports_in(ast.parse(path.read_text(encoding="utf-8")), package, for_types=False)]


def imports_in(node: ast.AST, package: str, *, for_types: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, None, for_types) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield from (Import(module, alias.name, for_types) for alias in node.names)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for part in node.body:
            yield from imports_in(part, package, for_types=True)
        for part in node.orelse:
            yield from imports_in(part, package, for_types=for_types)
        return
    for child in ast.iter_child_nodes(node):
        yield from imports_in(child, package, for_types=for_types)


FILES = sorted(ROOT.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(ROOT)) for p in FILES])
each_pure_file = pytest.mark.parametrize(
    "path", [p for p in FILES if top_of(p) in PURE], ids=lambda path: path.name
)
each_program = pytest.mark.parametrize(
    "path",
    [p for p in FILES if top_of(p) in PROGRAMS],
    ids=lambda path: str(path.relative_to(ROOT)),
)


def test_every_file_has_a_floor() -> None:
    """Every file of the package has its floor, and every floor's files exist."""
    new = sorted({top_of(path) for path in FILES} - set(FLOOR))
    gone = sorted(set(FLOOR) - {top_of(path) for path in FILES})

    assert not new, f"{new} have no floor: add them to FLOORS here, right above all they import"
    assert not gone, f"{gone} are gone: take them out of FLOORS here"


@each_file
def test_imports_lead_down(path: Path) -> None:
    """A file imports from the floors below its own only; for its types also from its own floor."""
    own = top_of(path)
    for found in imports_of(path):
        if not found.is_ours or found.target == own:
            continue
        above = FLOOR[found.target] - FLOOR[own]

        assert above < 0 or (above == 0 and found.for_types), (
            f"{own} (floor {FLOOR[own]}) imports {found.target} (floor {FLOOR[found.target]}): "
            "imports lead down; move what both need to a floor below them"
        )


@each_pure_file
def test_lower_floors_do_no_io(path: Path) -> None:
    """The lower floors import nothing that reads, writes, waits or starts anything."""
    for found in imports_of(path):
        name = f"{found.module}.{found.name}"

        assert found.is_ours or found.module in HARMLESS or name in HARMLESS, (
            f"{path.name} imports {name}: add it to HARMLESS here if it does no I/O of any "
            "kind; if it does, it belongs to a higher floor"
        )


@each_pure_file
def test_lower_floors_open_and_print_nothing(path: Path) -> None:
    """The lower floors do no I/O with what is built in, either."""
    names = {
        node.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name)
    }

    assert not names & {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize(
    "library,owners",
    [
        ("tenacity", {"_retry"}),
        ("aiolimiter", {"_even_pace"}),
        ("aiohttp", {"_transport", "_failures", "_idle"}),
    ],
)
def test_few_files_know_a_library(library: str, owners: set[str]) -> None:
    """Of the core, one file imports tenacity, one aiolimiter; the transport's import aiohttp."""
    importers = {
        top_of(path)
        for path in FILES
        if top_of(path) in CORE
        for found in imports_of(path)
        if not found.for_types and found.module.split(".")[0] == library
    }

    assert importers == owners


@pytest.mark.parametrize("folder", [name for name in PROGRAMS if (ROOT / name).is_dir()])
def test_no_circles_inside_a_folder(folder: str) -> None:
    """The files of a folder do not import each other in circles."""
    paths = [path for path in FILES if top_of(path) == folder]
    modules = {module_of(path) for path in paths}
    graph = {
        module_of(path): {
            candidate
            for found in imports_of(path)
            if not found.for_types
            # `from . import x` names a file, `from .x import y` has it in its module.
            for candidate in {f"{found.module}.{found.name}", found.module} & modules
            if candidate != f"cekat_async.{folder}" or f"{found.module}.{found.name}" not in modules
        }
        for path in paths
    }

    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"files import each other in a circle: {' -> '.join(error.args[1])}")
    assert modules == set(order)


@each_program
def test_programs_stand_on_public_names(path: Path) -> None:
    """What is built on the client uses nothing that its users cannot."""
    for found in imports_of(path):
        if not found.is_ours or found.target == top_of(path):
            continue
        parts = set(found.module.split(".")) - NAME_PLATE
        private = [part for part in parts if part.startswith("_")]

        assert not private, f"{path.name} imports the private {found.module}"
        assert found.target != "__init__" or found.name in cekat_async.__all__, (
            f"{path.name} imports {found.name}, which is not in cekat_async.__all__"
        )


@pytest.mark.parametrize(
    "path", [p for p in FILES if top_of(p) == "sandbox"], ids=lambda path: path.name
)
def test_sandbox_knows_nothing_of_the_client(path: Path) -> None:
    """The sandbox shares no code with the client, so that it is a second witness of the API."""
    assert {found.target for found in imports_of(path) if found.is_ours} <= {"sandbox"}


def test_importing_the_package_is_light() -> None:
    """All public names together import neither the programs nor what only they need."""
    code = "import json, sys; from cekat_async import *; print(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(shown.stdout))

    heavy = {"click", "rich", "sqlite3", "pytest", "aiohttp.web"}
    heavy |= {f"cekat_async.{name}" for name in PROGRAMS}
    assert "cekat_async.client" in loaded
    assert not loaded & heavy


def test_this_file_sees_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports are seen in functions, in branches, for types only, and when they are relative."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "sandbox" / "deep.py"
    path.parent.mkdir()
    path.write_text(
        "import typing, os.path\n"
        "from . import wire\n"
        "from .log import Log\n"
        "from .. import errors\n"
        "if typing.TYPE_CHECKING:\n    from cekat_async import CekatClient\n"
        "else:\n    import socket\n"
        "def f():\n    from cekat_async._wire import Reply\n"
    )

    found = [(one.module, one.name, one.for_types) for one in imports_of(path)]

    assert found == [
        ("typing", None, False),
        ("os.path", None, False),
        ("cekat_async.sandbox", "wire", False),
        ("cekat_async.sandbox.log", "Log", False),
        ("cekat_async", "errors", False),
        ("cekat_async", "CekatClient", True),
        ("socket", None, False),
        ("cekat_async._wire", "Reply", False),
    ]
    assert [one.target for one in imports_of(path) if one.is_ours] == [
        "sandbox",
        "sandbox",
        "errors",
        "__init__",
        "_wire",
    ]
