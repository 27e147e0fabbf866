"""Faults for tests: each method makes the next requests fail in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async.sandbox.behaviour.faults import Fault
from cekat_async.sandbox.validation import require_integer

if TYPE_CHECKING:
    from cekat_async.sandbox.server import Sandbox

_DAY = 86_400.0


class FaultInjector:
    """Makes the next requests to a sandbox fail, in the order of the calls.

    You can call the methods from any thread, and each takes effect before it returns. A request
    gets one fault. After the last fault, the sandbox replies as usual.

    Args:
        sandbox: The sandbox.

    Examples:
        >>> faults = FaultInjector(sandbox)
        >>> faults.status(503, count=2)
        >>> faults.drop_connection()
        >>> (await cekat.conversations.page()).response.attempts
        4
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def add(self, fault: Fault, *, count: int = 1) -> None:
        """Apply a fault to the next requests that do not have a fault yet.

        Args:
            fault: The fault.
            count: How many requests. Default 1.

        Raises:
            ValueError: ``fault`` is not a :class:`Fault`, or ``count`` is not a positive integer.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.add(Fault.truncate(), count=2)
            >>> (await cekat.conversations.page()).response.attempts
            3
        """
        require_integer("count", count, minimum=1)
        self._sandbox.fail_next(*[fault] * count)

    def status(self, code: int, *, retry_after: float | None = None, count: int = 1) -> None:
        """Reply with an HTTP status and the API's error envelope, for example 429 or 503.

        Args:
            code: The status, 100 to 599.
            retry_after: The value of the ``Retry-After`` header in seconds. Default ``None``: no
                header.
            count: How many requests. Default 1.

        Raises:
            ValueError: ``code`` is not a status, or ``count`` is not a positive integer.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.status(429, retry_after=0)
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self.add(Fault.status(code, headers=headers), count=count)

    def drop_connection(self, *, count: int = 1) -> None:
        """Close the connection of the next requests before any byte of the reply.

        Args:
            count: How many requests. Default 1.

        Raises:
            ValueError: ``count`` is not a positive integer.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.drop_connection()
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        self.add(Fault.drop(), count=count)

    def drop_mid_body(self, *, count: int = 1) -> None:
        """Close the connection of the next requests after half of the body.

        Args:
            count: How many requests. Default 1.

        Raises:
            ValueError: ``count`` is not a positive integer.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.drop_mid_body()
            >>> (await cekat.conversations.page()).response.attempts
            2
        """
        self.add(Fault.drop_mid_body(), count=count)

    def slow_reply(self, seconds: float, *, count: int = 1) -> None:
        """Delay the reply to the next requests.

        Args:
            seconds: The delay.
            count: How many requests. Default 1.

        Raises:
            ValueError: ``seconds`` is negative, or ``count`` is not a positive integer.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.slow_reply(0.1)
            >>> (await cekat.conversations.page()).response.attempts
            1
        """
        self.add(Fault.delay(seconds), count=count)

    def no_reply(self, *, count: int = 1) -> None:
        """Never reply to the next requests, so that they end with a timeout.

        Args:
            count: How many requests. Default 1.

        Raises:
            ValueError: ``count`` is not a positive integer.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.no_reply()
            >>> quick = cekat.with_options(timeout=Timeout(read=0.1))
            >>> (await quick.conversations.page()).response.attempts
            2
        """
        self.add(Fault.hang(), count=count)

    def malformed_record(self, *, count: int = 1) -> None:
        """Add a record without an id in front of the records of the next pages.

        Args:
            count: How many pages. Default 1.

        Raises:
            ValueError: ``count`` is not a positive integer.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.malformed_record()
            >>> page = await cekat.conversations.page(on_malformed=lambda record: None)
            >>> len(page.items), len(page.malformed_records)
            (100, 1)
        """
        self.add(Fault.malformed_record(), count=count)

    def exhaust_daily_quota(self, seconds: float = _DAY) -> None:
        """Reply to every request with a 429 until the daily quota is granted again.

        Args:
            seconds: The time until the daily quota is granted again. Default 86,400: a day.

        Raises:
            ValueError: ``seconds`` is not a positive number.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.exhaust_daily_quota()
            >>> try:
            ...     page = await cekat.conversations.page()
            ... except RateLimitError as error:
            ...     print(error.code)
            DAILY_LIMIT_EXCEEDED
        """
        self._sandbox.exhaust_daily_quota(seconds)

    def clear(self) -> None:
        """Remove all faults that have not happened yet, and grant the daily quota again.

        Examples:
            >>> faults = FaultInjector(sandbox)
            >>> faults.status(503, count=100)
            >>> faults.clear()
            >>> (await cekat.conversations.page()).response.attempts
            1
        """
        self._sandbox.clear_faults()
