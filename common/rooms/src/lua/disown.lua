-- disown: gives the lease of an outbox up, if it is this one's.
--
-- KEYS    1 the owner
-- ARGV    1 token
-- replies OK | LOST
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'LOST'} end
redis.call('DEL', KEYS[1])
return {'OK'}
