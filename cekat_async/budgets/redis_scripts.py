"""The Lua scripts that a budget runs on the Redis server."""

from __future__ import annotations

from pyrate_limiter.buckets.redis_bucket import LuaScript

from cekat_async.budgets.base import KEPT

__all__ = ["PAUSE", "TAKE"]

# The second key contains the state as numbers by name. It is a sorted set, because Redis users that
# were created for version 0.1 may be allowed to use only this type. It expires a day after the last
# write, when every pause has ended.
_STATE = """
local state = KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function recall(name)
    return tonumber(redis.call('ZSCORE', state, name) or 0)
end
local function note(...)
    redis.call('ZADD', state, now, 'written_at', ...)
    redis.call('PEXPIRE', state, 86400001)
end
local function learn(requests, per, age)
    if age and now - age >= recall('learned_at') then
        note(requests, 'requests', per, 'per', now - age, 'learned_at')
    end
end
-- If the clock was set back, ages are unknown.
if recall('written_at') > now then
    redis.call('ZREMRANGEBYRANK', state, 0, -1)
end
"""

PAUSE = f"""{_STATE}
learn(ARGV[2], ARGV[3], ARGV[4])
note(math.max(now + ARGV[1], recall('paused_until')), 'paused_until')
"""

# pyrate-limiter's script counts by the time that the caller sends, so machines with different
# clocks would not count each other's requests. Also, that script never trims its log and sets no
# expiry. So it runs unchanged inside our script, which passes the server's time to it, trims the
# log and sets an expiry.
#
# The caller counts time from the start of the window, so its "now" is the length of the window. The
# first seven arguments are for pyrate-limiter's script. If the caller has learned a rate, three
# more arguments follow.
TAKE = f"""
local KEPT = {KEPT}
local function put(KEYS, ARGV)
{LuaScript.PUT_ITEM}
end
{_STATE}
local key, window = KEYS[1], tonumber(ARGV[1])
local start = now - window

-- If the clock was set back, requests in the future would not be counted.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. now, '+inf')) do
    redis.call('ZADD', key, now, ahead)
end

learn(ARGV[8], ARGV[9], ARGV[10])
local verdict = {{0, -1}}
local pause = math.max(recall('paused_until') - now, 0)
if pause == 0 then
    local args = {{unpack(ARGV)}}
    args[1] = now
    args[5] = args[5] + start
    verdict = put(KEYS, args)
end
if verdict[1] < 0 then
    local kept = math.max(window, KEPT)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. (now - kept))
    redis.call('PEXPIRE', key, kept + 1)
end
if verdict[2] >= 0 then
    verdict[2] = verdict[2] - start
end

-- Each run of a server has an id, which not every user is allowed to read.
local info = redis.pcall('INFO', 'server')
verdict[3] = type(info) == 'string' and info:match('run_id:(%x+)') or ''
verdict[4] = redis.call('ZCOUNT', key, start, now)
verdict[5] = pause
if recall('learned_at') > 0 then
    verdict[6] = redis.call('ZSCORE', state, 'requests')
    verdict[7] = redis.call('ZSCORE', state, 'per')
    verdict[8] = tostring(now - recall('learned_at'))
end
return verdict
"""
