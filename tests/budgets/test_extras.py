"""The libraries of the budgets are extras, which are needed only to create a budget."""

import json
import subprocess
import sys

import pytest

from cekat_async import ConfigurationError
from cekat_async.budgets import FileBudget, RedisBudget


@pytest.mark.parametrize(
    "make,log,module,extra",
    [
        (RedisBudget, "redis_log", "redis", "redis"),
        (RedisBudget, "redis_log", "pyrate_limiter", "redis"),
        (lambda: FileBudget("cekat.sqlite"), "file_log", "pyrate_limiter", "file"),
    ],
)
def test_a_missing_extra_says_how_to_install_it(monkeypatch, make, log, module, extra):
    """If its library is missing, a budget raises an error that says how to install the library."""
    monkeypatch.delitem(sys.modules, f"cekat_async.budgets.{log}", raising=False)
    for loaded in {module, *sys.modules}:
        if loaded.partition(".")[0] == module:
            monkeypatch.setitem(sys.modules, loaded, None)

    with pytest.raises(ConfigurationError) as caught:
        make()

    assert str(caught.value) == f"the budget needs {module}: pip install 'cekat-async[{extra}]'"


def test_a_broken_library_is_not_reported_as_missing(monkeypatch):
    """If an import inside the library fails, that error is raised."""
    monkeypatch.delitem(sys.modules, "cekat_async.budgets.file_log", raising=False)
    monkeypatch.setitem(sys.modules, "secrets", None)

    with pytest.raises(ModuleNotFoundError, match="secrets"):
        FileBudget("cekat.sqlite")


def test_importing_the_budgets_is_light():
    """`import cekat_async.budgets` imports no library of a store."""
    code = "import json, sys, cekat_async.budgets; print(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert not set(json.loads(shown.stdout)) & {"redis", "pyrate_limiter", "sqlite3"}
