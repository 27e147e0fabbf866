"""The public names are complete and documented, and there are no others."""

import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import cekat_async
from cekat_async import errors, export, frames, models

PUBLIC_MODULES = [
    importlib.import_module(name)
    for name in (
        "cekat_async",
        "cekat_async.errors",
        "cekat_async.models",
        "cekat_async.pages",
        "cekat_async.config",
        "cekat_async.client",
        "cekat_async.resources.conversations",
        "cekat_async.resources.inboxes",
        "cekat_async.resources.listing",
        "cekat_async.export",
        "cekat_async.frames",
        "cekat_async.sandbox",
        "cekat_async.telemetry",
    )
]
each_module = pytest.mark.parametrize("module", PUBLIC_MODULES, ids=lambda module: module.__name__)

OBJECTS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in PUBLIC_MODULES
    for name in module.__all__
    if callable(getattr(module, name))
}

CLASSES = [name for name, value in OBJECTS.items() if isinstance(value, type)]


def by_kind(name: str) -> tuple[int, str]:
    """Sort constants before classes, and classes before the rest, as the linter does."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def find_members(kind: type) -> dict[str, object]:
    """Find the public methods and properties of a class, if our own code defines them."""
    return {
        f"{owner.__qualname__}.{name}": getattr(member, "__func__", member)
        for owner in kind.__mro__
        if owner.__module__.startswith("cekat_async")
        for name, member in vars(owner).items()
        if isinstance(member, (property, classmethod, staticmethod, FunctionType))
        and not name.startswith("_")
    }


def test_all_names_what_is_public() -> None:
    """`__all__` has exactly the names without an underscore that the package provides."""
    public = {
        name
        for name, value in vars(cekat_async).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    # it is imported on first use
    late = {"CekatClient", "Limiter", "LimiterSnapshot", "Listing", "WindowSnapshot"}
    late |= {"BudgetAnswer", "LearnedRate", "SharedBudget"}
    late |= {"Hook", "HookEvent", "Hooks", "WalkBegun", "WalkEnded", "CallBegun", "CallFailed"}
    late |= {"RequestSent", "ReplyReceived", "RequestFailed", "RetryScheduled"}
    late |= {"PageFetched", "PauseBegun"}
    assert public | late | {"__version__", "errors"} == set(cekat_async.__all__)


def test_values_and_errors_are_all_there() -> None:
    """Every record type and every error is a public name of the package."""
    assert set(models.__all__) | set(errors.__all__) < set(cekat_async.__all__)


@each_module
def test_all_is_sound(module: ModuleType) -> None:
    """Every name in an `__all__` exists, occurs only once, and is not private."""
    names = module.__all__

    assert [name for name in names if not hasattr(module, name)] == []
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("_") and name != "__version__"] == []


@each_module
def test_all_is_sorted(module: ModuleType) -> None:
    """An `__all__` is sorted. In the package's `__all__`, the errors are last."""
    names = [*module.__all__]
    if module is cekat_async:
        own = names[: -len(errors.__all__)]
        assert errors.__all__ == names[len(own) :]
        names = own

    assert sorted(names, key=by_kind) == names


def test_star_import() -> None:
    """`from cekat_async import *` gives exactly the public names."""
    namespace: dict[str, object] = {}
    exec("from cekat_async import *", namespace)  # noqa: S102 - a star import needs a module
    del namespace["__builtins__"]

    assert set(cekat_async.__all__) == set(namespace)


@each_module
def test_modules_are_documented(module: ModuleType) -> None:
    """Every public module has a docstring that begins with a sentence."""
    first, *_ = module.__doc__.splitlines()

    assert first.endswith(".")


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_documented(name: str) -> None:
    """Every public class and function has its own docstring that begins with a sentence."""
    # inspect.getdoc would also return the docstring of a base class.
    first, *_ = (OBJECTS[name].__doc__ or "-").splitlines()

    assert first.endswith((".", "``", ":")), f"{name} says {first!r}"


@pytest.mark.parametrize("name", CLASSES)
def test_methods_are_documented(name: str) -> None:
    """Every public method and property of a public class has a docstring."""
    bare = [member for member, value in find_members(OBJECTS[name]).items() if not value.__doc__]

    assert bare == []


def test_version() -> None:
    """The package's version equals the version of its installed distribution."""
    assert version("cekat-async") == cekat_async.__version__


def test_types_are_shipped() -> None:
    """The package has the marker for type checkers."""
    assert (Path(cekat_async.__file__).parent / "py.typed").read_bytes() == b""


def run(code: str) -> str:
    """Run some code in a child process and return its output."""
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_costs_little() -> None:
    """Importing the package imports only the necessary modules.

    It imports aiohttp only for a client.
    """
    heavy = {"aiohttp", "asyncio", "tenacity", "aiolimiter", "uvloop"}
    loaded = "import sys; print(*sys.modules)"

    assert not heavy & set(run(f"import cekat_async; {loaded}").split())
    after = set(run(f"from cekat_async import *; {loaded}").split())
    assert heavy & after == heavy - {"aiohttp", "uvloop"}
    names = ("budgets", "cli", "export", "frames", "sandbox", "telemetry")
    programs = {f"cekat_async.{name}" for name in names}
    others = {"click", "opentelemetry", "rich", "sqlite3", "pytest", "trio"}
    assert not after & (programs | others)
    opened = run(f"import cekat_async; cekat_async.CekatClient('a-made-up-key'); {loaded}")
    assert "aiohttp" in opened.split()


each_lazy_package = pytest.mark.parametrize(
    "package", [cekat_async, export, frames], ids=lambda package: package.__name__
)


@each_lazy_package
def test_dir_shows_all_public_names(package: ModuleType) -> None:
    """`dir()` has every public name before the first of them is used."""
    name = package.__name__
    shown = run(f"import {name}; print(*dir({name}))").split()

    assert set(package.__all__) <= set(shown)
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("name", ["config", "errors", "models", "pages"])
def test_public_modules_need_no_import_of_their_own(name: str) -> None:
    """After `import cekat_async`, its public modules are available."""
    assert run(f"import cekat_async; print(cekat_async.{name}.__name__)") == f"cekat_async.{name}\n"


@each_lazy_package
def test_an_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    """An unknown name raises AttributeError, like in any module."""
    name = package.__name__
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'Client'"):
        _ = package.Client
    with pytest.raises(ImportError, match="cannot import name 'Client'"):
        exec(f"from {name} import Client")  # noqa: S102 - an import that fails
