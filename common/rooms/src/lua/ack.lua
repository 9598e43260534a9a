-- ack: drops facts that are written for good.
--
-- KEYS    1 the owner   2 the outbox
-- ARGV    1 token   2 the first id to keep
-- replies OK | LOST
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'LOST'} end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
return {'OK'}
