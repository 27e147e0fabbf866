"""A hook that reports to memory."""

import pytest
from support.otel import Recorded


@pytest.fixture
def recorded():
    """A hook with its own providers. Every span that it began has ended when the test ends."""
    recorded = Recorded()
    yield recorded
    assert recorded.hook.open_spans == 0
    recorded.close()
