-- spend: one request against a rate, by the generic cell rate algorithm: the key holds when all that was spent is earned again.
--
-- KEYS    1 that moment, µs of Redis TIME, a string that expires with it
-- ARGV    1 what one request takes to be earned again, µs   2 how many may come at once
-- replies OK left µs-until-all-is-there | WAIT µs-until-one-is-there µs-until-all-is-there
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, window = tonumber(ARGV[1]), ARGV[1] * ARGV[2]
-- A moment past the window was written by another clock or under another rate: nobody waits longer than the window.
local full = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or now), now), now + window)
local after = full + interval
if after > now + window then
  return {'WAIT', after - now - window, full - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {'OK', math.floor((now + window - after) / interval), after - now}
