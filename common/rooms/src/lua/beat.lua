-- beat: a node lives, and proves to itself that its subscription does.
--
-- KEYS    1 nodes   2 epoch
-- ARGV    1 the node's channel   2 node   3 counter   4 1 to register   5 a random value, for an epoch that is missing
-- replies OK receivers time epoch nodes | SWEPT
if ARGV[4] ~= '1' and redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return {'SWEPT'} end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], ARGV[5], 'NX')
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local receivers = redis.call('SPUBLISH', ARGV[1], now .. '-0 - canary - -')
return {'OK', receivers, now, redis.call('GET', KEYS[2]), redis.call('HGETALL', KEYS[1])}
