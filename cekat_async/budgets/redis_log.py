"""The log of a budget in Redis: pyrate-limiter counts, redis-py carries. Needs the extra."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pyrate_limiter import Decision, Rate, RateItem, RedisBucket
from pyrate_limiter.buckets.redis_bucket import LuaScript
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cekat_async import ConfigurationError
from cekat_async.budgets.base import KEPT, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RedisLog"]

# pyrate-limiter's script does the counting. Left alone, it takes the time from whoever asks: what a
# machine with a fast clock took is not counted by one with a slow clock, nor is what others take
# while a time is on its way to the server. Its log is never trimmed by itself and never expires.
# So it is run as it is, but inside of a script that gives it the server's time and tidies up.
#
# The caller counts time from the beginning of the window: its "now" is the window's length.
SCRIPT = (
    f"""
local KEPT = {KEPT}
local function put(KEYS, ARGV)
{LuaScript.PUT_ITEM}
end
"""
    """
local key, window = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local start = now - window

-- The clock was set back: what lies ahead of it would not be counted.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. now, '+inf')) do
    redis.call('ZADD', key, now, ahead)
end

local args = {unpack(ARGV)}
args[1] = now
args[5] = args[5] + start
local verdict = put(KEYS, args)
if verdict[1] < 0 then
    local kept = math.max(window, KEPT)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. (now - kept))
    redis.call('PEXPIRE', key, kept + 1)
end
if verdict[2] >= 0 then
    verdict[2] = verdict[2] - start
end

-- Each run of a server has an id. Users may be forbidden to see it.
local info = redis.pcall('INFO', 'server')
verdict[3] = type(info) == 'string' and info:match('run_id:(%x+)') or ''
return verdict
"""
)

_URL_WANTED = (
    "url must look like redis://host:6379/0, rediss://host:6379/0 or unix:///path?db=0, with the "
    "options of redis-py; a user name and a password before the host must be percent-encoded"
)


class RedisLog:
    """What was taken out of one budget, in a sorted set of its own."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self._pool = _build_pool(url)
        self.where = _get_address(url, self._pool.connection_kwargs)
        self._key = key
        self._timeout = timeout
        self._script = Redis(connection_pool=self._pool).register_script(SCRIPT)
        # One connection does: takes wait for each other here, in the order in which they came.
        self._turn = asyncio.Lock()
        self._server: bytes = b""

    async def take(self, requests: int, window: int) -> float:
        """Take one request; return 0.0, or after how many seconds to ask again."""
        failure: OSError
        try:
            # One timeout for all of it; redis-py closes a connection that is interrupted.
            async with asyncio.timeout(self._timeout), self._turn:
                return await self._put(requests, window)
        except (RedisError, OSError) as error:
            failure = self._failure(error)
            self._server = b""  # should it be another one next time, that is no news
        # Raised out here, so that it brings no frames of redis-py along: they hold the password.
        raise failure

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pool.aclose()

    async def _put(self, requests: int, window: int) -> float:
        # A bucket remembers its last verdict, so tasks must not share one.
        bucket = RedisBucket([Rate(requests, window)], cast("Redis", self), self._key, "")
        verdict = bucket.put_decision(RateItem("", window))
        decision = verdict if isinstance(verdict, Decision) else await verdict
        return 0.0 if decision.allowed else seconds(decision.retry_after_ms)

    async def evalsha(self, _sha: str, _keys: int, key: str, *args: Any) -> list[Any]:
        """Stand in for the client that the bucket runs its script with: run ours instead."""
        reply: list[Any] = await self._script(keys=[key], args=args)
        before, self._server = self._server, reply[2]
        if before not in (b"", self._server):
            raise RedisConnectionError("restarted, and what was taken may be forgotten")
        return reply

    def _failure(self, error: Exception) -> OSError:
        # What a server answers can repeat what it was sent, and so the password. It is not shown.
        if isinstance(error, TimeoutError | RedisTimeoutError):
            return TimeoutError(f"{self.where} did not answer within {self._timeout:g} s")
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
            return PermissionError(f"{self.where} refused the user or the password")
        if type(error) is RedisConnectionError:
            return ConnectionError(f"{self.where}: {' '.join(str(error).split())}")
        return ConnectionError(f"{self.where} does not do its work: {type(error).__name__}")


def _build_pool(url: object) -> ConnectionPool:
    if isinstance(url, str) and _is_whole(url):
        try:
            pool = ConnectionPool.from_url(
                url,
                # No bound, and one is in use: a connection whose give-back is cancelled is lost.
                max_connections=2**31,
                # Once, at once: servers close connections that are idle. Taking twice is no harm.
                retry=Retry(NoBackoff(), 1),
                socket_timeout=None,
                socket_connect_timeout=None,
            )
            pool.connection_class(**pool.connection_kwargs)  # shows whether the options exist
        except (ValueError, TypeError):
            pass  # its text can have a part of the password in it
        else:
            return pool
    raise ConfigurationError(_URL_WANTED)


def _is_whole(url: str) -> bool:
    # A password with one of /?# in it, as it is, ends the host early: its rest would be a path.
    # A line break would be dropped in silence.
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return url.isprintable() and "@" not in parts.path + parts.query and "#" not in url


def _get_address(url: str, options: Mapping[str, Any]) -> str:
    """Return the address of a server as messages may show it."""
    database = options.get("db", 0)
    scheme = url.partition(":")[0]
    if "path" in options:
        return f"{scheme}://{options['path']}?db={database}"
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return f"{scheme}://{host}:{port}/{database}"
