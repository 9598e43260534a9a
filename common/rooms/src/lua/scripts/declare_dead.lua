-- declare_dead: declares a node dead, if its last heartbeat is still the observed one.
--
-- KEYS    1 heartbeats of the group
-- ARGV    1 node   2 observed counter, or `dead` to finish what another node has begun
-- replies OK | ALIVE
local node, observed = ARGV[1], ARGV[2]
if (redis.call('HGET', KEYS[1], node) or 'dead') ~= observed then return {'ALIVE'} end
redis.call('HSET', KEYS[1], node, 'dead')
return {'OK'}
