"""The log of a budget in Redis. pyrate-limiter counts it, and redis-py sends the commands."""

# redis-py does not declare the types of a pool's options.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from pyrate_limiter import Decision, Rate, RateItem, RedisBucket
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cekat_async import BudgetAnswer, ConfigurationError, LearnedRate
from cekat_async.budgets.base import seconds
from cekat_async.budgets.redis_scripts import PAUSE, TAKE

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from redis.commands.core import AsyncScript

__all__ = ["RedisLog"]

_Result = TypeVar("_Result")

# The number of elements in a reply that contains no rate.
_WITHOUT_RATE = 5

_URL_WANTED = (
    "url must look like redis://host:6379/0, rediss://host:6379/0 or unix:///path?db=0, with the "
    "options of redis-py; a user name and a password before the host must be percent-encoded"
)


class RedisLog:
    """The requests of one budget in a sorted set, and its newest rate and its pause in another set.

    Version 0.1 of this package uses only the first set.
    """

    def __init__(self, url: str, name: str, timeout: float) -> None:
        self._pool = _build_pool(url)
        self.where = _get_address(url, self._pool.connection_kwargs)
        self._keys = [f"cekat_async:budget:{name}", f"cekat_async:state:{name}"]
        self._timeout = timeout
        server = Redis(connection_pool=self._pool)
        self._take, self._pause = server.register_script(TAKE), server.register_script(PAUSE)
        # One connection is enough, because this lock lets only one take run at a time, in order.
        self._turn = asyncio.Lock()
        self._server: bytes = b""

    async def take(self, requests: int, window: int, learned: LearnedRate | None) -> BudgetAnswer:
        """Take one request. ``window`` is in milliseconds."""
        try:
            return await self._run(self._put(requests, window, learned))
        except OSError:
            self._server = b""  # this error is enough: do not also report a restart
            raise

    async def pause(self, length: int, learned: LearnedRate | None) -> None:
        """Grant no requests to any process for ``length`` milliseconds."""
        args = [length, *_build_arguments(learned)]
        await self._run(self._pause(keys=self._keys, args=args))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pool.aclose()

    async def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        failure: OSError
        try:
            # One timeout covers all steps. redis-py closes a connection whose command was
            # interrupted.
            async with asyncio.timeout(self._timeout), self._turn:
                return await work
        except (RedisError, OSError) as error:
            failure = self._failure(error)
        finally:
            work.close()  # `work` may not have started
        # Raise the error here, so that its traceback has no frames of redis-py, which contain the
        # password.
        raise failure

    async def _put(self, requests: int, window: int, learned: LearnedRate | None) -> BudgetAnswer:
        # A bucket stores its last decision, so tasks must not share a bucket.
        call = _Call(self._take, self._keys, learned)
        bucket = RedisBucket([Rate(requests, window)], cast("Redis", call), self._keys[0], "")
        verdict = bucket.put_decision(RateItem("", window))
        decision = verdict if isinstance(verdict, Decision) else await verdict
        before, self._server = self._server, call.server
        if before not in (b"", call.server):
            raise RedisConnectionError("the server was restarted and may have lost the counts")
        wait = 0.0 if decision.allowed else seconds(decision.retry_after_ms)
        return BudgetAnswer(
            wait=call.paused_for or wait,
            used=call.used,
            learned=call.learned,
            paused_for=call.paused_for,
        )

    def _failure(self, error: Exception) -> OSError:
        # Do not show the server's reply, because the reply may repeat the password.
        if isinstance(error, TimeoutError | RedisTimeoutError):
            return TimeoutError(f"{self.where} did not answer within {self._timeout:g} s")
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
            return PermissionError(
                f"{self.where} refused the user name, the password or access to a key"
            )
        if type(error) is RedisConnectionError:
            return ConnectionError(f"{self.where}: {' '.join(str(error).split())}")
        return ConnectionError(f"{self.where} returned an error: {type(error).__name__}")


def _build_arguments(learned: LearnedRate | None) -> list[float]:
    return [learned.requests, learned.per, learned.age * 1000] if learned else []


class _Call:
    """The client to which a bucket passes its script. It runs our script instead."""

    def __init__(self, script: AsyncScript, keys: list[str], learned: LearnedRate | None) -> None:
        self._script, self._keys = script, keys
        self._news = _build_arguments(learned)
        self.server = b""
        self.used = 0
        self.paused_for = 0.0
        self.learned: LearnedRate | None = None

    async def evalsha(self, _sha: str, _keys: int, _key: str, *args: Any) -> list[Any]:
        reply: list[Any] = await self._script(keys=self._keys, args=[*args, *self._news])
        self.server, self.used, self.paused_for = reply[2], reply[3], reply[4] / 1000
        if len(reply) > _WITHOUT_RATE:
            requests, per, age = map(float, reply[_WITHOUT_RATE:])
            self.learned = LearnedRate(int(requests), per, age / 1000)
        return reply


def _build_pool(url: object) -> ConnectionPool:
    if isinstance(url, str) and _is_whole(url):
        try:
            pool = ConnectionPool.from_url(
                url,
                # Only one connection is in use at a time. Even so, do not limit the number of
                # connections: a cancellation may lose one, which would still count.
                max_connections=2**31,
                # Retry once immediately, because servers close idle connections. If the retry
                # counts a request twice, the only effect is that the client sends fewer requests.
                retry=Retry(NoBackoff(), 1),
                socket_timeout=None,
                socket_connect_timeout=None,
            )
            pool.connection_class(**pool.connection_kwargs)  # raises if an option is unknown
        except (ValueError, TypeError):
            pass  # drop the error, whose text may contain a part of the password
        else:
            return pool
    raise ConfigurationError(_URL_WANTED)


def _is_whole(url: str) -> bool:
    # An unencoded /, ? or # in a password ends the host early, and the rest of the password becomes
    # a path. urlsplit also removes line breaks silently.
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return url.isprintable() and "@" not in parts.path + parts.query and "#" not in url


def _get_address(url: str, options: Mapping[str, Any]) -> str:
    """Return the address of a server without the user name and the password."""
    database = options.get("db", 0)
    scheme = url.partition(":")[0]
    if "path" in options:
        return f"{scheme}://{options['path']}?db={database}"
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return f"{scheme}://{host}:{port}/{database}"
