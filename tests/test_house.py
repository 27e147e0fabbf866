"""The layout of the package: the order of imports, files without I/O, and limits on sizes."""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from coverage.files import GlobMatcher

import cekat_async

ROOT = Path(cekat_async.__file__).parent

# The order of imports: an entry imports only earlier entries. CONTRIBUTING.md shows the same list.
HOUSE = """
    _version redaction errors config positions models pages  <  _api  <  _ratelimit  <  _request
    <  _paging  <  _parallel  <  resources  <  client  <  __init__  <  telemetry frames
    <  export budgets  <  sandbox  <  pytest_plugin  <  cli  <  __main__
"""
ORDER = [name for name in HOUSE.split() if name != "<"]
PLACE = {name: place for place, name in enumerate(ORDER)}
CORE = set(ORDER[: PLACE["__init__"] + 1])
PROGRAMS = ORDER[PLACE["__init__"] + 1 :]
# These files of the core may read, write and wait. All other files of the core are pure.
NOT_PURE = {
    "_ratelimit": {
        "clock",
        "event_loop",
        "leaky_bucket",
        "limiter",
        "pause",
        "shared_budget",
    },
    "_request": {
        "aiohttp_errors",
        "concurrency",
        "connections",
        "hooks",
        "pipeline",
        "retry",
        "session",
        "timeouts",
        "transport",
    },
    "_paging": {"many_inboxes", "page_fetcher", "prefetch"},
    "_parallel": set[str](),
    "resources": {"conversations", "inboxes", "listing"},
}
PURE = CORE - {"client", "__init__"}

# Pure files may import these names, because none of them reads, writes, waits or starts anything.
HARMLESS = {
    "__future__",
    "array",
    "bisect.bisect_right",
    "collections.Counter",
    "collections.abc",
    "collections.deque",
    "contextlib",
    "dataclasses.dataclass",
    "datetime",
    "difflib.get_close_matches",
    "email.utils",
    "enum",
    "functools.cache",
    "functools.partial",
    "functools.wraps",
    "hashlib.blake2b",
    "html.escape",
    "http.HTTPStatus",
    "inspect.getdoc",
    "ipaddress",
    "itertools",
    "json.JSONDecodeError",
    "json.JSONDecoder",
    "json.dumps",
    "math",
    "msgspec",
    "msgspec.structs",
    "operator.itemgetter",
    # This module has types, and imports that run only if pydantic calls its functions.
    "pydantic",
    "pydantic_core",
    "re",
    "sys.byteorder",
    "types",
    "typing",
    "urllib.parse",
    "uuid.UUID",
}


class Import(NamedTuple):
    """An imported name, and whether only type checkers see the import."""

    module: str
    name: str | None
    for_types: bool

    @property
    def target(self) -> str:
        """The imported file or folder at the top of the package."""
        parts = self.module.split(".")
        if len(parts) == 1:
            return self.name if self.name in PLACE else "__init__"
        return parts[1]

    @property
    def is_ours(self) -> bool:
        return self.module.split(".")[0] == "cekat_async"


def get_module(path: Path) -> str:
    parts = ("cekat_async", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def get_top(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@cache
def find_imports(path: Path) -> list[Import]:
    """Return all imports of a file, including imports in functions."""
    package = (
        get_module(path) if path.name == "__init__.py" else get_module(path).rpartition(".")[0]
    )
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
    "path",
    [p for p in FILES if get_top(p) in PURE and p.stem not in NOT_PURE.get(get_top(p), ())],
    ids=lambda path: path.name,
)
each_program = pytest.mark.parametrize(
    "path",
    [p for p in FILES if get_top(p) in PROGRAMS],
    ids=lambda path: str(path.relative_to(ROOT)),
)


def test_the_list_is_complete() -> None:
    """The list ``HOUSE`` has exactly the files and folders of the package."""
    assert {get_top(path) for path in FILES} == set(ORDER)


def test_contributing_shows_the_same_list() -> None:
    """CONTRIBUTING.md shows the same list."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert " ".join(HOUSE.split()) in " ".join(text.split())


@each_file
def test_imports_lead_left(path: Path) -> None:
    """A file imports only entries that are earlier in the list, except in imports for types."""
    own = get_top(path)
    for found in find_imports(path):
        if not found.is_ours or found.for_types or found.target == own:
            continue

        assert PLACE[found.target] < PLACE[own], (
            f"{own} imports {found.target}, which is after it in the list: "
            "move what both need to an entry before both"
        )


@each_pure_file
def test_pure_files_do_no_io(path: Path) -> None:
    """Pure files import nothing that reads, writes, waits or starts anything."""
    for found in find_imports(path):
        name = f"{found.module}.{found.name}"

        assert found.is_ours or found.module in HARMLESS or name in HARMLESS, (
            f"{path.name} imports {name}: add it to HARMLESS here if it does no I/O of any "
            "kind; if it does, add the file to NOT_PURE"
        )


@each_pure_file
def test_pure_files_open_and_print_nothing(path: Path) -> None:
    """Pure files do no I/O with built-in functions such as ``open``."""
    names = {
        node.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name)
    }

    assert not names & {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize(
    "library,owners",
    [
        ("tenacity", {"_request.retry"}),
        ("aiolimiter", {"_ratelimit.leaky_bucket"}),
        (
            "aiohttp",
            {
                "_request.transport",
                "_request.aiohttp_errors",
                "_request.connections",
                "_request.session",
            },
        ),
    ],
)
def test_few_files_know_a_library(library: str, owners: set[str]) -> None:
    """Only a few files of the core import a given third-party library."""
    importers = {
        get_module(path).removeprefix("cekat_async.")
        for path in FILES
        if get_top(path) in CORE
        for found in find_imports(path)
        if not found.for_types and found.module.split(".")[0] == library
    }

    assert importers == owners


@pytest.mark.parametrize("folder", [name for name in ORDER if (ROOT / name).is_dir()])
def test_no_circles_inside_a_folder(folder: str) -> None:
    """There are no import cycles among the files of a folder."""
    paths = [path for path in FILES if get_top(path) == folder]
    modules = {get_module(path) for path in paths}
    graph = {
        get_module(path): {
            candidate
            for found in find_imports(path)
            if not found.for_types
            # In `from . import x`, the file is a name. In `from .x import y`, it is the module.
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
def test_programs_use_public_names(path: Path) -> None:
    """Code that uses the client, such as exports, imports only public names."""
    for found in find_imports(path):
        if not found.is_ours or found.target == get_top(path):
            continue
        private = [part for part in found.module.split(".") if part.startswith("_")]

        assert not private, f"{path.name} imports the private {found.module}"
        assert found.target != "__init__" or found.name in cekat_async.__all__, (
            f"{path.name} imports {found.name}, which is not in cekat_async.__all__"
        )


@pytest.mark.parametrize(
    "path", [p for p in FILES if get_top(p) == "sandbox"], ids=lambda path: path.name
)
def test_sandbox_knows_nothing_of_the_client(path: Path) -> None:
    """The sandbox shares no code with the client, so the client cannot hide its own mistakes."""
    assert {found.target for found in find_imports(path) if found.is_ours} <= {"sandbox"}


def test_few_import_the_sandbox() -> None:
    """Only the pytest plugin and the command line import the sandbox."""
    importers = {
        get_top(path)
        for path in FILES
        for found in find_imports(path)
        if found.is_ours and found.target == "sandbox" and not found.for_types
    }

    assert importers == {"sandbox", "pytest_plugin", "cli"}


MOST_LINES, MOST_FILES, MOST_TOP_FILES, MOST_ATTRIBUTES = 350, 14, 10, 15
FOLDERS = sorted({path.parent for path in FILES} - {ROOT})


def test_the_top_level_has_few_files() -> None:
    """The top of the package has at most 10 Python files."""
    assert len([*ROOT.glob("*.py")]) <= MOST_TOP_FILES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_folders_have_few_files(folder: Path) -> None:
    """A folder has at most 14 Python files besides its ``__init__.py``."""
    assert len({*folder.glob("*.py")} - {folder / "__init__.py"}) <= MOST_FILES


def test_modules_are_short() -> None:
    """No module has more than 350 lines."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}

    assert {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > MOST_LINES} == {}


def find_structs(classes: Iterable[ast.ClassDef]) -> set[str]:
    """Return the names of all structs and named tuples, including subclasses."""
    bases = {one.name: {ast.unparse(base).split("[")[0] for base in one.bases} for one in classes}
    structs = {"msgspec.Struct", "NamedTuple"}
    while more := {name for name, parents in bases.items() if parents & structs} - structs:
        structs |= more
    return structs


def find_attributes(class_: ast.ClassDef) -> set[str]:
    """Return the attributes of a class: annotated fields, and assignments to ``self``."""
    fields = {ast.unparse(node.target) for node in class_.body if isinstance(node, ast.AnnAssign)}
    return fields | {
        node.attr
        for node in ast.walk(class_)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }


def test_classes_have_few_attributes() -> None:
    """No class has more than 15 attributes, except structs and named tuples.

    Structs and named tuples have no state: their fields describe a record, an option or a report.
    """
    classes = [
        node
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    structs = find_structs(classes)
    counts = {one.name: len(find_attributes(one)) for one in classes if one.name not in structs}

    assert counts["Scheduler"] > 10
    assert {name: n for name, n in counts.items() if n > MOST_ATTRIBUTES} == {}


def test_this_file_sees_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds relative imports, and imports in functions, in branches and for types."""
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
        "def f():\n    from cekat_async._api.replies import Reply\n"
    )

    found = [(one.module, one.name, one.for_types) for one in find_imports(path)]

    assert found == [
        ("typing", None, False),
        ("os.path", None, False),
        ("cekat_async.sandbox", "wire", False),
        ("cekat_async.sandbox.log", "Log", False),
        ("cekat_async", "errors", False),
        ("cekat_async", "CekatClient", True),
        ("socket", None, False),
        ("cekat_async._api.replies", "Reply", False),
    ]
    assert [one.target for one in find_imports(path) if one.is_ours] == [
        "sandbox",
        "sandbox",
        "errors",
        "__init__",
        "_api",
    ]


def test_the_coverage_gate_has_the_whole_core() -> None:
    """``CORE`` in noxfile.py, the files that need full branch coverage, matches the whole core."""
    source = (Path(__file__).parents[1] / "noxfile.py").read_text(encoding="utf-8")
    (patterns,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CORE"
    ]
    gate = GlobMatcher(patterns.split(","))
    core = [str(path.relative_to(ROOT.parent)) for path in FILES if get_top(path) in CORE]

    assert core
    assert [path for path in core if not gate.match(path)] == []
