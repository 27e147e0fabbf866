"""Faults by name, for tests: each method makes the next requests fail in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async.sandbox.behaviour.faults import Fault
from cekat_async.sandbox.validation import require_integer

if TYPE_CHECKING:
    from cekat_async.sandbox.server import Sandbox

_DAY = 86_400.0


class FaultInjector:
    """Makes the next requests to a sandbox fail, in the order of the calls.

    Every method takes effect before it returns, also from another thread than the sandbox's. A
    request gets one fault. The requests after the last fault are answered as usual.

    Args:
        sandbox: The sandbox whose requests fail.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def add(self, fault: Fault, *, count: int = 1) -> None:
        """Apply a fault to the next ``count`` requests that have none yet.

        Raises:
            ValueError: ``count`` is not a positive integer.
        """
        require_integer("count", count, minimum=1)
        self._sandbox.fail_next(*[fault] * count)

    def status(self, code: int, *, retry_after: float | None = None, count: int = 1) -> None:
        """Reply with an HTTP status and the API's error envelope, for example 429 or 503.

        Args:
            code: The status, 100 to 599.
            retry_after: The ``Retry-After`` header in seconds. Default ``None``: no header.
            count: How many requests get this reply. Default 1.

        Raises:
            ValueError: ``code`` is not a status, or ``count`` is not a positive integer.
        """
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self.add(Fault.status(code, headers=headers), count=count)

    def drop_connection(self, *, count: int = 1) -> None:
        """Close the connection of the next ``count`` requests before any byte of the reply."""
        self.add(Fault.drop(), count=count)

    def drop_mid_body(self, *, count: int = 1) -> None:
        """Close the connection of the next ``count`` requests after half of the body."""
        self.add(Fault.drop_mid_body(), count=count)

    def slow_reply(self, seconds: float, *, count: int = 1) -> None:
        """Send the reply to the next ``count`` requests ``seconds`` late."""
        self.add(Fault.delay(seconds), count=count)

    def no_reply(self, *, count: int = 1) -> None:
        """Never reply to the next ``count`` requests, so that they end with a timeout."""
        self.add(Fault.hang(), count=count)

    def malformed_record(self, *, count: int = 1) -> None:
        """Put one more record, which has no id, on the next ``count`` pages.

        It is the first record of its page. The other records are on the page as usual.
        """
        self.add(Fault.malformed_record(), count=count)

    def exhaust_daily_quota(self, seconds: float = _DAY) -> None:
        """Reply to every request with a 429 until the daily quota is granted again.

        Args:
            seconds: How long the daily quota is used up. Default 86,400: a day.

        Raises:
            ValueError: ``seconds`` is not a positive number.
        """
        self._sandbox.exhaust_daily_quota(seconds)

    def clear(self) -> None:
        """Remove every fault that has not happened yet, and grant the daily quota again."""
        self._sandbox.clear_faults()
