-- sweep_start: removes a dead node from a partition, if its registration is still the observed one.
--
-- KEYS    1 nodes   2 seats of the node   3 seats to sweep   4 sweeps in progress
-- ARGV    1 node   2 observed registration   3 name of the sweep
-- replies OK | ALIVE
local node, observed, sweep = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', KEYS[1], node) ~= observed then return {'ALIVE'} end
redis.call('HDEL', KEYS[1], node)
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[3])
  redis.call('SADD', KEYS[4], sweep)
end
return {'OK'}
