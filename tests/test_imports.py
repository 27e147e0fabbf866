"""All imports are statements, so that bundlers such as PyInstaller find all modules."""

import ast
from pathlib import Path

import pytest

import cekat_async

ROOT = Path(cekat_async.__file__).parent
MODULES = {
    ".".join(("cekat_async", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}


def calls_in(source):
    """Return the names of all functions that the source calls, without module or object."""
    functions = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {getattr(one, "attr", getattr(one, "id", None)) for one in functions}


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_imported_by_a_function(module):
    """No code calls ``import_module`` or ``__import__``, because bundlers cannot follow them."""
    source = MODULES[module].read_text(encoding="utf-8")

    assert not calls_in(source) & {"import_module", "__import__", "exec", "eval"}


@pytest.mark.parametrize(
    "code",
    ["importlib.import_module(f'x.{y}')", "import_module('x')", "def f(): __import__(name)"],
)
def test_such_a_call_is_seen(code):
    """``calls_in`` finds such a call anywhere in the code."""
    assert calls_in(code) & {"import_module", "__import__"}


def imported_by(module):
    """Return the package's modules that a module imports, including imports in functions."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = ".".join(above[: len(above) + 1 - node.level]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def test_the_command_line_leads_to_every_sink():
    """The command line reaches all modules of the export by following import statements."""
    found, ahead = set(), ["cekat_async.__main__"]
    while ahead:
        module = ahead.pop()
        if module in MODULES and module not in found:
            found.add(module)
            ahead += [*imported_by(module), module.rpartition(".")[0]]

    wanted = {m for m in MODULES if m.startswith(("cekat_async.export", "cekat_async.cli"))}
    assert wanted <= found
