-- trim_outbox: drops facts that are stored durably, while the lease holds.
--
-- KEYS    1 lease   2 outbox
-- ARGV    1 token   2 first id to keep
-- replies OK | LOST
local token, first_kept = ARGV[1], ARGV[2]
if redis.call('GET', KEYS[1]) ~= token then return {'LOST'} end
redis.call('XTRIM', KEYS[2], 'MINID', first_kept)
return {'OK'}
