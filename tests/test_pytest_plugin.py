"""The fixtures in users' projects. Each test writes such a project and runs its tests."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib.metadata import entry_points

import pytest
from support.parts import make_client
from support.pytest_project import run_project

from cekat_async.sandbox import Sandbox

pytest_plugins = ["pytester"]

# At the end of each file, a test checks the clients of the other tests.
BEGIN = """
import asyncio
import pytest
CLIENTS = []
@pytest.fixture(autouse=True)
def _collect(request):
    if "cekat_client" in request.fixturenames:
        CLIENTS.append(request.getfixturevalue("cekat_client"))
"""
END = """
def test_zzz_all_are_closed():
    assert CLIENTS
    assert [repr(client) for client in CLIENTS if "closed" not in repr(client)] == []
"""

ASYNC_TESTS = """
MARK
async def test_a_walk(cekat_client, cekat_sandbox):
    found = await cekat_client.conversations.list().collect()
    assert [one.id for one in found] == [id_ for id_, _ in cekat_sandbox.records()]

MARK
async def test_a_walk_that_is_left(cekat_client):
    async for _ in cekat_client.conversations.list(page_size=10):
        break

MARK
async def test_a_task_that_is_left(cekat_client, cekat_faults):
    cekat_faults.no_reply()
    task = asyncio.create_task(cekat_client.conversations.page())
    while not cekat_client.traffic.requests:
        await asyncio.sleep(0)
    # It ends with its loop, or when the client is closed.
    task.add_done_callback(lambda task: task.cancelled() or task.exception())

MARK
async def test_a_client_that_is_closed(cekat_client):
    async with cekat_client as cekat:
        await cekat.conversations.page()

MARK
async def test_a_client_without_a_request(cekat_client, cekat_sandbox):
    CLIENTS.remove(cekat_client)
    assert not cekat_sandbox.log.requests

MARK
async def test_faults(cekat_client, cekat_faults):
    cekat_faults.status(429)
    cekat_faults.drop_connection()
    await cekat_client.conversations.page()
    assert cekat_client.traffic.retries == 2
"""

SYNC_TESTS = """
import unittest

def test_asyncio_run(cekat_client, cekat_sandbox):
    async def main():
        return await cekat_client.conversations.list().collect()

    assert len(asyncio.run(main())) == cekat_sandbox.count() == 250

def test_a_loop_that_stays_open(cekat_client):
    loop = test_a_loop_that_stays_open.loop = asyncio.new_event_loop()
    assert loop.run_until_complete(cekat_client.conversations.page()).items

def test_zz_that_loop_is_left_as_it_was():
    assert not test_a_loop_that_stays_open.loop.is_closed()
    test_a_loop_that_stays_open.loop.close()

class TestCase(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _attach(self, cekat_client):
        self.cekat = cekat_client

    async def test_a_page(self):
        assert (await self.cekat.conversations.page()).items
"""


@pytest.fixture
def run(pytester):
    """Return a function that runs the tests in a source text."""
    return partial(run_project, pytester)


@pytest.mark.parametrize(
    "mark, settings",
    [
        ("@pytest.mark.asyncio", "asyncio_mode = strict"),
        ("@pytest.mark.asyncio(loop_scope='session')", "asyncio_mode = strict"),
        ("", "asyncio_mode = auto"),
        ("@pytest.mark.anyio", ""),
    ],
    ids=["strict", "session", "auto", "anyio"],
)
def test_asynchronous_tests_get_a_client_of_their_own_loop(run, mark, settings):
    """In each mode, the client works and is closed in its own loop, without a warning."""
    backend = '@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    source = BEGIN + (backend if "anyio" in mark else "") + ASYNC_TESTS.replace("MARK", mark) + END

    run(source, settings=settings).assert_outcomes(passed=7)


def test_synchronous_tests_get_a_client(run):
    """The client is closed when the test's loop closes.

    If the loop stays open, the client is closed afterwards.
    """
    run(BEGIN + SYNC_TESTS + END).assert_outcomes(passed=5)


def test_no_other_plugin_is_needed(run):
    """Without plugins for coroutines, synchronous tests can use the fixtures."""
    # The project's configuration has settings of the plugins that are missing.
    without = ("-p", "no:asyncio", "-p", "no:anyio", "-W", "ignore::pytest.PytestConfigWarning")

    run(BEGIN + SYNC_TESTS + END, *without).assert_outcomes(passed=5)


def test_fixtures_of_tests_can_use_the_client(run):
    """An asynchronous fixture that uses the client can use it until the fixture itself ends."""
    source = """
import pytest_asyncio

@pytest_asyncio.fixture
async def listing(cekat_client):
    listing = cekat_client.conversations.list()
    yield listing
    assert len(await listing.take(3)) == 3

@pytest.mark.asyncio
async def test_it(listing):
    assert len(await listing.take(5)) == 5
"""
    run(BEGIN + source + END).assert_outcomes(passed=2)


def test_a_loop_in_another_thread_closes_its_client(run):
    """If a loop still runs at the end of a test, the client is closed in that loop."""
    source = """
import threading, time
LOOP = asyncio.new_event_loop()

@pytest.fixture(scope="module", autouse=True)
def _thread():
    thread = threading.Thread(target=LOOP.run_forever)
    thread.start()
    yield
    LOOP.call_soon_threadsafe(LOOP.stop)
    thread.join()
    LOOP.close()

def test_it(cekat_client):
    page = asyncio.run_coroutine_threadsafe(cekat_client.conversations.page(), LOOP)
    assert page.result().items

def test_it_is_closed_soon():
    while "closed" not in repr(CLIENTS[0]):
        time.sleep(0.001)
"""
    run(BEGIN + source + END).assert_outcomes(passed=3)


def test_a_loop_that_is_closed_by_hand_is_left_alone(run):
    """If a test closes its loop without asyncio's shutdown, it must close the client itself."""
    source = """
def test_it(cekat_client):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(cekat_client.conversations.page())
    loop.run_until_complete(cekat_client.aclose())
    loop.close()
"""
    run(BEGIN + source + END).assert_outcomes(passed=2)


def test_another_backend_is_refused(run):
    """A test that anyio runs on trio fails, and the message has advice."""
    source = """
@pytest.fixture(params=["trio", ("trio", {})])
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
async def test_it(cekat_client):
    pass
"""
    result = run(BEGIN + source)

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines("*cekat_client needs asyncio*on trio: add a fixture anyio_backend*")


def test_markers_set_options(run):
    """The options of a module, a class and a test are merged.

    The closest marker overrides the others.
    """
    source = """
from cekat_async import AuthenticationError, RetryPolicy, ServerError
EVENTS = []
pytestmark = [
    pytest.mark.cekat_sandbox(conversations=7, inboxes=2),
    pytest.mark.cekat_client(concurrency=3),
]

class TestOptions:
    pytestmark = pytest.mark.cekat_sandbox(conversations=5)

    def test_of_the_class(self, cekat_sandbox):
        assert (cekat_sandbox.count(), len(cekat_sandbox.inbox_ids)) == (5, 2)

    @pytest.mark.cekat_sandbox(conversations=0, api_key="mine")
    def test_of_the_test(self, cekat_sandbox):
        assert (cekat_sandbox.count(), cekat_sandbox.api_key) == (0, "mine")

def test_of_the_module(cekat_sandbox, cekat_client):
    CLIENTS.clear()
    assert (cekat_sandbox.count(), cekat_client.concurrency) == (7, 3)

@pytest.mark.parametrize("hooks", [EVENTS.append, [EVENTS.append]])
def test_a_test_has_hooks(request, hooks):
    request.applymarker(
        pytest.mark.cekat_client(hooks=hooks, retry=RetryPolicy(attempts=1))
    )
    client = request.getfixturevalue("cekat_client")
    CLIENTS.append(client)
    request.getfixturevalue("cekat_faults").status(503)
    EVENTS.clear()
    with pytest.raises(ServerError):
        asyncio.run(client.conversations.page())
    assert EVENTS

@pytest.mark.cekat_client(api_key="another-key")
def test_a_test_has_a_wrong_key(cekat_client):
    CLIENTS.append(cekat_client)
    with pytest.raises(AuthenticationError):
        asyncio.run(cekat_client.conversations.page())
"""
    run(BEGIN + source + END).assert_outcomes(passed=7)


@pytest.mark.parametrize(
    "name, fixture", [("cekat_sandbox", "cekat_sandbox"), ("cekat_client",) * 2]
)
def test_options_have_names(run, name, fixture):
    """A marker with a positional argument fails its test."""
    result = run(f"import pytest\n@pytest.mark.{name}(5)\ndef test_it({fixture}):\n    pass\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(f"*the marker {name} takes only keyword arguments*")


@pytest.mark.parametrize(
    "name, owner", [("cekat_sandbox", "Sandbox"), ("cekat_client", "CekatClient")]
)
def test_an_unknown_option_names_its_marker(run, name, owner):
    """A misspelt option fails its test. The message names the option and its marker."""
    result = run(
        f"import pytest\n@pytest.mark.{name}(concurency=5)\ndef test_it({name}):\n    pass\n"
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        f"*the marker {name} has no option 'concurency': *those of {owner}()*"
    )


SHARED = """
import pytest
IDS = set()

@pytest.mark.parametrize("number", range(2))
def test_first(cekat_sandbox, cekat_faults, number):
    IDS.add(id(cekat_sandbox))
    cekat_faults.drop_connection(count=9)
    cekat_faults.exhaust_daily_quota()

def test_faults_do_not_outlive_their_test(cekat_sandbox, cekat_client):
    import asyncio
    assert len(IDS | {id(cekat_sandbox)}) == SANDBOXES
    asyncio.run(cekat_client.conversations.page())
    assert (cekat_client.traffic.requests, cekat_sandbox.count()) == (1, COUNT)
"""


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_the_setting_shares_a_sandbox(run, scope):
    """Tests of the same scope share one sandbox. A fixture of that scope sets its options."""
    conftest = (
        "import pytest\n"
        f"@pytest.fixture(scope={scope!r})\n"
        "def cekat_sandbox_options():\n"
        "    return {'conversations': 3}\n"
        f"@pytest.fixture(scope={scope!r})\n"
        "def application(cekat_sandbox):\n"
        "    return cekat_sandbox.base_url\n"
    )
    source = SHARED.replace("SANDBOXES", "1").replace("COUNT", "3")
    if scope == "class":
        lines = source.replace("import pytest\nIDS = set()\n", "").splitlines()
        inside = "\n".join(f"    {line}" for line in lines).replace(
            "(cekat_sandbox,", "(self, cekat_sandbox,"
        )
        source = f"import pytest\nIDS = set()\nclass TestIt:\n{inside}\n"

    result = run(source, settings=f"cekat_sandbox_scope = {scope}", conftest=conftest)

    result.assert_outcomes(passed=3)


def test_each_test_has_a_sandbox_of_its_own(run):
    """Without the setting, each test has its own sandbox."""
    source = SHARED.replace("SANDBOXES", "2").replace("COUNT", "250")
    source = source.replace("IDS.add(id(cekat_sandbox))", "IDS.add(cekat_sandbox.base_url)")
    source = source.replace("{id(cekat_sandbox)}", "{cekat_sandbox.base_url}")

    run(source.replace("== 2", ">= 2")).assert_outcomes(passed=3)


@pytest.mark.parametrize("scope, refused", [("session", 2), ("module", 1), ("class", 1)])
def test_a_marker_on_part_of_a_shared_sandbox_is_refused(run, scope, refused):
    """If a marker could only affect the first test's sandbox, its test fails with a reason."""
    source = """
import pytest
pytestmark = pytest.mark.cekat_sandbox(conversations=4)

class TestIt:
    def test_of_the_module(self, cekat_sandbox):
        assert cekat_sandbox.count() == 4

    @pytest.mark.cekat_sandbox(conversations=0)
    def test_of_the_test(self, cekat_sandbox):
        pass

@pytest.mark.cekat_sandbox(conversations=0)
def test_without_a_sandbox():
    pass
"""
    result = run(source, settings=f"cekat_sandbox_scope = {scope}")

    result.assert_outcomes(passed=3 - refused, errors=refused)
    result.stdout.fnmatch_lines(f"*all tests of the same {scope} share one sandbox: move*")


def test_the_setting_is_checked(run):
    """An unknown scope raises an error, which lists the valid ones."""
    result = run("def test_it(cekat_sandbox): pass", settings="cekat_sandbox_scope = test")

    assert result.ret != 0
    output = result.stdout.str() + result.stderr.str()
    assert "cekat_sandbox_scope must be one of function, class, module" in output


def run_python(code, *arguments, **environment):
    """Run some code in a child process and return its output."""
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    return ended.stdout + ended.stderr


def test_pytest_finds_the_plugin():
    """The plugin has the package's name, by which users can switch it off."""
    (found,) = [
        point for point in entry_points(group="pytest11") if point.value.startswith("cekat_async")
    ]

    assert (found.name, found.value) == ("cekat_async", "cekat_async.pytest_plugin")


def test_nothing_is_imported_before_a_fixture_is_used(tmp_path):
    """Without our fixtures, a run of pytest imports no client, no sandbox and no asyncio."""
    (tmp_path / "test_it.py").write_text("def test_it(): pass")
    shows = "import pytest, sys; pytest.main(sys.argv[1:]); print('loaded:', *sys.modules)"
    arguments = ("-p", "cekat_async.pytest_plugin", "-p", "no:cacheprovider", str(tmp_path))
    output = run_python(shows, *arguments, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    loaded = set(output.rpartition("loaded: ")[2].split())

    assert "1 passed" in output
    assert "cekat_async.pytest_plugin" in loaded
    assert not loaded & {"aiohttp", "asyncio", "tenacity", "aiolimiter"}
    assert not loaded & {f"cekat_async.{name}" for name in ("client", "sandbox", "resources")}


def test_the_plugin_can_be_switched_off(pytester):
    """If the plugin is switched off, there are no fixtures, and other tests run as usual."""
    pytester.makepyfile("def test_it(): pass\ndef test_sandbox(cekat_sandbox): pass")

    without = ("-p", "no:cekat_async", "-p", "no:asyncio", "-p", "no:cacheprovider")
    result = pytester.runpytest_inprocess(*without)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines("*fixture 'cekat_sandbox' not found")


async def test_a_record_can_be_put_into_a_sandbox(client):
    """A conversation that the client received can be added, and is received again unchanged."""
    before = {one.id: one async for one in client.conversations.list()}
    async with Sandbox(conversations=0, quota=None) as other, make_client(other) as again:
        for conversation in before.values():
            other.add(conversation)
        assert {one.id: one async for one in again.conversations.list()} == before
