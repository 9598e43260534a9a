-- retire: a node goes, if it holds no seat.
--
-- KEYS    1 nodes   2 the node's seats
-- ARGV    1 node
-- replies OK | HELD
if redis.call('EXISTS', KEYS[2]) == 1 then return {'HELD'} end
redis.call('HDEL', KEYS[1], ARGV[1])
return {'OK'}
