"""Names that are imported late: there when they are used, and not before."""

# ruff: noqa: PLC0415 - that is what is tested

import ast
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cekat_async
import cekat_async.export
from cekat_async._lazy import at_first_use


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules, whose names are imported late."""
    folder = tmp_path / "late_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "first.py").write_text("class Thing: pass\nother = 7")
    (folder / "second.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("late_package")
    for name in [name for name in sys.modules if name.startswith("late_package")]:
        del sys.modules[name]


def load(home):
    """Import a module of the package, as a package does it: by a statement for each."""
    match home:
        case "first":
            import late_package.first
        case "second":
            import late_package.second  # noqa: F401


def test_a_name_is_imported_when_it_is_used(package):
    """Its home is imported with the first use, and the name then stays."""
    get, _ = at_first_use("late_package", {"first": ["Thing"], "second": []}, load)

    assert "late_package.first" not in sys.modules
    assert get("Thing") is sys.modules["late_package.first"].Thing
    assert vars(package)["Thing"] is get("Thing")
    assert "late_package.second" not in sys.modules


def test_a_home_is_an_attribute(package):
    """A module that is a home can be reached from the package without an import of its own."""
    get, _ = at_first_use("late_package", {"first": ["Thing"], "second": []}, load)

    assert isinstance(get("second"), ModuleType)
    assert get("first").other == 7


def test_what_is_not_there_is_an_attribute_error(package):
    """Only what is named is there: not all that a home has."""
    get, _ = at_first_use("late_package", {"first": ["Thing"]}, load)

    for name in ("other", "second", "nothing"):
        with pytest.raises(AttributeError, match=f"'late_package' has no attribute '{name}'"):
            get(name)


def test_all_names_are_shown(package):
    """``dir()`` has them before any is used."""
    _, names = at_first_use("late_package", {"first": ["Thing"], "second": []}, load)

    assert {"Thing", "__name__"} <= set(names())
    assert names() == sorted(names())


def test_a_home_that_is_being_imported(package):
    """A module that is still being imported is returned as it is, as by any import of it."""
    late_package = sys.modules["late_package"]
    get, _ = at_first_use("late_package", {"first": [], "third": []}, import_third)
    late_package.__getattr__ = get
    (Path(package.__path__[0]) / "third.py").write_text(
        "import late_package\nname = late_package.third.__name__"
    )

    assert late_package.third.name == "late_package.third"


def import_third(home):
    import late_package.third  # noqa: F401


@pytest.mark.parametrize("package", [cekat_async, cekat_async.export], ids=lambda p: p.__name__)
def test_every_home_has_an_import_statement(package):
    """Each module that a public name comes from is imported by a statement of its own.

    In a process in which others have imported it already, nobody would notice that one is missing.
    """
    source = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (load,) = [
        node
        for node in ast.walk(source)
        if isinstance(node, ast.FunctionDef) and node.name == "_load"
    ]
    imported = [
        alias.name
        for node in ast.walk(load)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]

    assert imported == [f"{package.__name__}.{home}" for home in package._HOMES]
