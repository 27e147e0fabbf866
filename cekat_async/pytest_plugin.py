"""pytest fixtures for code that uses the client: a sandbox, its client, and its faults.

pytest finds the fixtures without an import. The fixtures are synchronous, so they work in
synchronous tests and with every plugin that runs coroutines on asyncio. Imports happen on first
use, because pytest loads this module in every test run of the environment.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Iterator

    from cekat_async import CekatClient
    from cekat_async.sandbox import FaultInjector, Sandbox

__all__ = ["cekat_client", "cekat_faults", "cekat_sandbox", "cekat_sandbox_options"]

# For each scope, the node whose tests share a fixture.
_SCOPES: dict[str, Any] = {
    "function": pytest.Item,
    "class": pytest.Class,
    "module": pytest.Module,
    "package": pytest.Package,
    "session": pytest.Session,
}
_MARKERS = (
    "cekat_sandbox(**options): options of the sandbox in this test, as those of Sandbox()",
    "cekat_client(**options): options of the client in this test, as those of CekatClient()",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the setting ``cekat_sandbox_scope``."""
    text = f"how long the fixture cekat_sandbox lives: {', '.join(_SCOPES)}"
    parser.addini("cekat_sandbox_scope", text, default="function")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test if its marker has no effect because its sandbox is shared."""
    scope = item.config.getini("cekat_sandbox_scope")
    if "cekat_sandbox" not in getattr(item, "fixturenames", ()):
        return
    shared = item.getparent(_SCOPES[scope]) or item
    for node, _ in item.iter_markers_with_node("cekat_sandbox"):
        if node not in shared.listchain():
            pytest.fail(
                f"the marker cekat_sandbox of {node.name} has no effect, because all tests of the "
                f"same {scope} share one sandbox: move the marker up, return the options from a "
                "fixture cekat_sandbox_options, or leave cekat_sandbox_scope unset",
                pytrace=False,
            )


def _choose_scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest's names
    scope = config.getini("cekat_sandbox_scope")
    if scope not in _SCOPES:
        names = ", ".join(_SCOPES)
        raise pytest.UsageError(f"cekat_sandbox_scope must be one of {names}, not {scope!r}")
    return scope


@pytest.fixture(scope=_choose_scope)
def cekat_sandbox_options() -> dict[str, Any]:
    """Options for every sandbox: arguments of ``Sandbox()``. To set them, override this fixture."""
    return {}


@pytest.fixture(scope=_choose_scope)
def cekat_sandbox(
    request: pytest.FixtureRequest, cekat_sandbox_options: dict[str, Any]
) -> Iterator[Sandbox]:
    """A running :class:`~cekat_async.sandbox.Sandbox`, in its own thread.

    The sandbox has 250 generated conversations and no quota. The marker
    ``cekat_sandbox(**options)`` and the fixture ``cekat_sandbox_options`` set other options. Each
    test gets its own sandbox, unless the setting ``cekat_sandbox_scope`` is a wider scope.
    """
    from cekat_async.sandbox import Sandbox

    usual: dict[str, Any] = {"conversations": 250, "quota": None}
    marked = _merge_markers(request.node, "cekat_sandbox", Sandbox)
    options = usual | cekat_sandbox_options | marked
    with Sandbox(**options) as sandbox:
        yield sandbox


@pytest.fixture
def cekat_client(request: pytest.FixtureRequest, cekat_sandbox: Sandbox) -> Iterator[CekatClient]:
    """An open :class:`~cekat_async.CekatClient` for ``cekat_sandbox``.

    The client has no rate limit and retries after a few milliseconds. The marker
    ``cekat_client(**options)`` sets other options. The client belongs to the event loop that uses
    it first. The client is closed when that loop ends, or at the end of the test if the loop
    continues.
    """
    from cekat_async import CekatClient, RetryPolicy

    _require_asyncio(request)
    options = _merge_markers(request.node, "cekat_client", CekatClient)
    hooks = options.pop("hooks", ())
    closer = _Closer()
    usual: dict[str, Any] = {
        "api_key": cekat_sandbox.api_key,
        "base_url": cekat_sandbox.base_url,
        "rate_limit": None,
        "retry": RetryPolicy(backoff=0.001),
    }
    closer.client = client = CekatClient(
        hooks=[closer.bind, *((hooks,) if callable(hooks) else hooks)], **usual | options
    )
    yield client
    closer.close()


@pytest.fixture
def cekat_faults(cekat_sandbox: Sandbox) -> Iterator[FaultInjector]:
    """A :class:`~cekat_async.sandbox.FaultInjector` for ``cekat_sandbox``.

    The fixture removes the remaining faults at the end of the test.
    """
    from cekat_async.sandbox import FaultInjector

    faults = FaultInjector(cekat_sandbox)
    yield faults
    faults.clear()


def _merge_markers(node: pytest.Item, name: str, owner: type) -> dict[str, Any]:
    """Return the options from all markers of a test. The closest marker overrides the others.

    Args:
        node: The test.
        name: The name of the markers.
        owner: The class whose constructor takes the options.
    """
    options: dict[str, Any] = {}
    known = inspect.signature(owner).parameters
    for marker in node.iter_markers(name):
        if marker.args:
            pytest.fail(
                f"the marker {name} takes only keyword arguments: write name=value", pytrace=False
            )
        for option in marker.kwargs.keys() - known:
            pytest.fail(
                f"the marker {name} has no option {option!r}: it takes those of {owner.__name__}()",
                pytrace=False,
            )
        options = {**marker.kwargs, **options}
    return options


def _require_asyncio(request: pytest.FixtureRequest) -> None:
    """Fail a test that anyio's plugin runs on a backend other than asyncio."""
    if "anyio_backend" not in request.fixturenames:
        return
    backend = request.getfixturevalue("anyio_backend")
    name = backend if isinstance(backend, str) else backend[0]
    if name != "asyncio":
        pytest.fail(
            f"cekat_client needs asyncio, and anyio runs this test on {name}: "
            'add a fixture anyio_backend that returns "asyncio"',
            pytrace=False,
        )


class _Closer:
    """Closes a client in the event loop that it belongs to.

    A test's event loop often ends before the fixtures of the test, and a client must be closed
    while its loop can still run. Before an event loop ends, it closes its suspended asynchronous
    generators. One of these generators closes the client.
    """

    client: CekatClient

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: AsyncGenerator[None, None] | None = None

    def bind(self, _event: object) -> None:
        """Suspend the generator in the running event loop, at the client's first event."""
        import asyncio

        if self._closing is None:
            self._loop = asyncio.get_running_loop()
            self._closing = self._close_at_the_end()
            # One step suspends the generator, because it awaits nothing before its ``yield``.
            with contextlib.suppress(StopIteration):
                self._closing.__anext__().send(None)

    async def _close_at_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.client.aclose()

    def close(self) -> None:
        """Close the client now if its event loop is still open."""
        import asyncio

        if self._loop is None or self._closing is None or self._loop.is_closed():
            return
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._closing.aclose(), self._loop)
        else:
            self._loop.run_until_complete(self._closing.aclose())
