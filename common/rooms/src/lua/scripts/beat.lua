-- beat: counts a node's heartbeat and publishes a canary to the node itself, which proves that its
-- subscription works.
--
-- KEYS    1 nodes   2 epoch
-- ARGV    1 channel of the node   2 node   3 counter   4 1 to register
--         5 random value for an epoch that is missing
-- replies OK receivers time epoch nodes | SWEPT
local channel, node, counter, registers, new_epoch = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if registers ~= '1' and redis.call('HEXISTS', KEYS[1], node) == 0 then return {'SWEPT'} end
redis.call('HSET', KEYS[1], node, counter)
redis.call('SET', KEYS[2], new_epoch, 'NX')
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local receivers = redis.call('SPUBLISH', channel, now .. '-0 - canary - -')
return {'OK', receivers, now, redis.call('GET', KEYS[2]), redis.call('HGETALL', KEYS[1])}
