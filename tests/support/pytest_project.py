"""Projects with their own tests, which run with the package's pytest plugin."""

import pytest

# In such a project a warning is a failure: an unclosed session or connection, or a leaked task.
SETTINGS = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""
# Loaded by its name, because our own suite has switched off pytest's discovery of plugins.
PLUGIN = ("-p", "no:cekat_async", "-p", "cekat_async.pytest_plugin", "-p", "no:cacheprovider")


def run_project(
    pytester: pytest.Pytester, source: str, *arguments: str, settings: str = "", **files: str
) -> pytest.RunResult:
    """Run the tests in a source text, and return their outcomes. ``files`` are other modules."""
    pytester.makeini(SETTINGS + settings)
    pytester.makepyfile(**{"test_it": source} | files)
    return pytester.runpytest_inprocess(*PLUGIN, *arguments)
