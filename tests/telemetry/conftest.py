"""A hook that reports to memory."""

import pytest
from support.otel import Recorded


@pytest.fixture
def recorded():
    """A hook with its own providers.

    When the test ends, every span that the hook began must have ended.
    """
    recorded = Recorded()
    yield recorded
    assert recorded.hook.open_spans == 0
    recorded.close()
