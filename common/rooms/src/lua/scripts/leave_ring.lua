-- leave_ring: removes a node from the ring of a group.
--
-- KEYS    1 heartbeats of the group   2 ring of the group
-- ARGV    1 node   2 1 to remove it only if it was declared dead
-- replies OK | ALIVE
local node, only_dead = ARGV[1], ARGV[2] == '1'
if only_dead and redis.call('HGET', KEYS[1], node) ~= 'dead' then return {'ALIVE'} end
redis.call('HDEL', KEYS[1], node)
redis.call('ZREM', KEYS[2], node)
return {'OK'}
