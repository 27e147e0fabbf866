"""Projects of others with tests of their own, which are run with the package's pytest plugin."""

# In such a project a warning is a failure: an unclosed session or connection, a task left behind.
SETTINGS = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""
# Loaded by its name, as our own suite has switched off what pytest finds by itself.
PLUGIN = ("-p", "no:cekat_async", "-p", "cekat_async.pytest_plugin", "-p", "no:cacheprovider")


def run_project(pytester, source, *arguments, settings="", **files):
    """Run the tests in a source text, and return their outcomes; ``files`` are other modules."""
    pytester.makeini(SETTINGS + settings)
    pytester.makepyfile(**{"test_it": source} | files)
    return pytester.runpytest_inprocess(*PLUGIN, *arguments)
