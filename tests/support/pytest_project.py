"""Runs the tests of a temporary project with the package's pytest plugin."""

import pytest

# Warnings about unclosed sessions, unclosed connections or leaked tasks fail the project's tests.
SETTINGS = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""
# The plugin is loaded by name, because our own suite switches off pytest's plugin discovery.
PLUGIN = ("-p", "no:cekat_async", "-p", "cekat_async.pytest_plugin", "-p", "no:cacheprovider")
# Another test of this process may have imported the plugin, which is no fault of the project.
IMPORTED_BEFORE = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def run_project(
    pytester: pytest.Pytester, source: str, *arguments: str, settings: str = "", **files: str
) -> pytest.RunResult:
    """Run the tests in ``source``, and return the result. ``files`` has the project's modules."""
    pytester.makeini(SETTINGS + settings)
    pytester.makepyfile(**{"test_it": source} | files)
    return pytester.runpytest_inprocess(*PLUGIN, *IMPORTED_BEFORE, *arguments)
