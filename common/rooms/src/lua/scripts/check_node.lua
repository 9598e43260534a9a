-- check_node: registers a node in a partition, or checks that it is registered, and publishes a
-- canary to the node itself, which proves that its subscription works.
--
-- KEYS    1 nodes   2 epoch
-- ARGV    1 channel of the node   2 node   3 name of the registration   4 1 to register
--         5 random value for an epoch that is missing
-- replies OK receivers time epoch | SWEPT
local channel, node, registration, registers, new_epoch = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if registers == '1' then
  redis.call('HSET', KEYS[1], node, registration)
elseif redis.call('HEXISTS', KEYS[1], node) == 0 then
  return {'SWEPT'}
end
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = new_epoch
  redis.call('SET', KEYS[2], epoch)
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return {'OK', redis.call('SPUBLISH', channel, now .. '-0 - canary - -'), now, epoch}
