-- deregister_node: removes a node that holds no seat.
--
-- KEYS    1 nodes   2 seats of the node
-- ARGV    1 node
-- replies OK | HELD
local node = ARGV[1]
if redis.call('EXISTS', KEYS[2]) == 1 then return {'HELD'} end
redis.call('HDEL', KEYS[1], node)
return {'OK'}
