-- spend: takes one request from a rate, by the generic cell rate algorithm (GCRA).
--
-- KEYS    1 time at which the whole burst is available again, µs of Redis TIME; expires then
-- ARGV    1 time in which one request becomes available again, µs   2 size of the burst
-- replies OK left µs-until-all | WAIT µs-until-one µs-until-all
local interval, window = tonumber(ARGV[1]), ARGV[1] * ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- A time beyond the window comes from another clock or another rate. It is cut to the window, so
-- that no client waits longer than that.
local full = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or now), now), now + window)
local after = full + interval
if after > now + window then
  return {'WAIT', after - now - window, full - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {'OK', math.floor((now + window - after) / interval), after - now}
