-- sweep-start: declares a node dead, if it has not beaten since it was observed.
--
-- KEYS    1 nodes   2 the node's seats   3 where they go   4 the sweeps under way
-- ARGV    1 node   2 the counter observed   3 the name of the sweep
-- replies OK | ALIVE
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {'ALIVE'} end
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[3])
  redis.call('SADD', KEYS[4], ARGV[3])
end
return {'OK'}
