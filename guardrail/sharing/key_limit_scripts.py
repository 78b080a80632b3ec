"""The steps of `RedisLimits` as Redis runs them; which values it holds is told in `key_limits.py`.

All of them begin alike: with the names of the six values and the time, with functions over them,
and with what is due whenever anybody asks. Leases that ended count as used. Arguments are the time
(empty for that of Redis) and what each step names first.
"""

from __future__ import annotations

from guardrail.keys.limit_errors import DAY_S, ROUNDING_USD

__all__ = ["ENTER", "LEAVE", "RENEW", "RESERVE", "SETTLE"]

_LONGEST_TRY_S = 10_800

_PRELUDE = f"""
local requests, calls, places, open, ended, used = unpack(KEYS, 1, 6)
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local function text(number) return string.format('%.17g', number) end
local function count(name, amount, at)
  redis.call('HINCRBY', name, text(math.floor(at)), amount)
  redis.call('EXPIRE', name, 180)
end
local function read(name)
  local raw, window = redis.call('HGETALL', name), {{total = 0}}
  for index = 1, #raw, 2 do
    local second, amount = tonumber(raw[index]), tonumber(raw[index + 1])
    if second + 60 < math.floor(now) then
      redis.call('HDEL', name, raw[index])
    else
      table.insert(window, {{second, amount}})
      window.total = window.total + amount
    end
  end
  table.sort(window, function(one, other) return one[1] < other[1] end)
  return window
end
local function wait(window, left)
  local wait_s = 0
  for _, one in ipairs(window) do
    if left <= 0 then break end
    left = left - one[2]
    wait_s = one[1] + 61 - now
  end
  return text(wait_s)
end
local function spent(at)
  local day = math.floor(at / {DAY_S})
  if day > tonumber(redis.call('HGET', used, 'day') or 0) then
    redis.call('HSET', used, 'day', day, 'usd', '0')
  end
  return tonumber(redis.call('HGET', used, 'usd') or 0)
end
local function spend(usd, at)
  local before = spent(at)
  if math.floor(at / {DAY_S}) < tonumber(redis.call('HGET', used, 'day')) then return end
  redis.call('HSET', used, 'usd', text(before + usd))
  redis.call('EXPIRE', used, {2 * DAY_S})
end
local function amounts(member)
  local calls, usd = string.match(member, '^%x+:([^:]*):([^:]*)$')
  return tonumber(calls), tonumber(usd)
end
local gone = redis.call('ZRANGEBYSCORE', open, '-inf', text(now), 'WITHSCORES')
for index = 1, #gone, 2 do
  local member, at = gone[index], tonumber(gone[index + 1])
  local of_calls, of_usd = amounts(member)
  redis.call('ZREM', open, member)
  redis.call('ZADD', ended, text(at + {_LONGEST_TRY_S}), member)
  redis.call('EXPIRE', ended, {2 * _LONGEST_TRY_S})
  if of_calls then count(calls, of_calls, at) end
  if of_usd then spend(of_usd, at) end
end
redis.call('ZREMRANGEBYSCORE', ended, '-inf', text(now))
redis.call('ZREMRANGEBYSCORE', places, '-inf', text(now))
local function hold(name, member, lease_s, how)
  if how then
    redis.call('ZADD', name, how, text(now + lease_s), member)
  else
    redis.call('ZADD', name, text(now + lease_s), member)
  end
  redis.call('EXPIRE', name, {2 * DAY_S})
end
"""
ENTER = f"""{_PRELUDE}
local most_places, most, token, lease_s = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
if most_places and redis.call('ZCARD', places) >= most_places then return {{'places'}} end
local window = {{total = 0}}
if most then
  window = read(requests)
  if window.total >= most then
    return {{'requests', window.total, wait(window, window.total),
             wait(window, window.total - most + 1)}}
  end
  count(requests, 1, now)
  window = read(requests)
end
if most_places then hold(places, token, lease_s) end
return {{'ok', window.total, wait(window, window.total)}}
"""
LEAVE = f"""{_PRELUDE}
redis.call('ZREM', places, ARGV[2])
return {{'ok'}}
"""
RESERVE = f"""{_PRELUDE}
local member, lease_s = ARGV[2], ARGV[3]
local most_calls, most_usd = tonumber(ARGV[4]), tonumber(ARGV[5])
local wanted_calls, wanted_usd = amounts(member)
local held_calls, held_usd = 0, 0
for _, one in ipairs(redis.call('ZRANGE', open, 0, -1)) do
  local of_calls, of_usd = amounts(one)
  held_calls = held_calls + (of_calls or 0)
  held_usd = held_usd + (of_usd or 0)
end
if wanted_calls and most_calls then
  local window = read(calls)
  local excess = window.total + held_calls + wanted_calls - most_calls
  if excess > 0 then
    return {{'calls', excess <= window.total and wait(window, excess) or '1'}}
  end
end
if wanted_usd and most_usd then
  local before = spent(now)
  if before + held_usd + wanted_usd > most_usd + {ROUNDING_USD} then
    local passes = before + wanted_usd <= most_usd + {ROUNDING_USD}
    return {{'usd', passes and '' or text({DAY_S} - now % {DAY_S})}}
  end
end
hold(open, member, lease_s)
return {{'ok'}}
"""
SETTLE = f"""{_PRELUDE}
local member, used_calls, used_usd = ARGV[2], ARGV[3], tonumber(ARGV[4])
local of_calls, of_usd = amounts(member)
local before = 0
if redis.call('ZREM', open, member) == 0 and redis.call('ZREM', ended, member) == 1 then
  before = of_usd or 0 -- counted when its lease ended
end
if of_calls then count(calls, used_calls, now) end
if of_usd then spend(math.max(0, (used_usd or of_usd) - before), now) end
return {{'ok'}}
"""
RENEW = f"""{_PRELUDE}
local lease_s, number = ARGV[2], tonumber(ARGV[3])
for index = 4, #ARGV do
  if index < 4 + number then
    hold(places, ARGV[index], lease_s)
  else
    hold(open, ARGV[index], lease_s, 'XX')
  end
end
return {{'ok'}}
"""
