-- release_lease: gives up the lease of an outbox.
--
-- KEYS    1 lease
-- ARGV    1 token
-- replies OK | LOST
local token = ARGV[1]
if redis.call('GET', KEYS[1]) ~= token then return {'LOST'} end
redis.call('DEL', KEYS[1])
return {'OK'}
