-- own: takes or renews the lease of an outbox.
--
-- KEYS    1 the owner
-- ARGV    1 token   2 lease, ms
-- replies OK | LOST
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return {'LOST'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'OK'}
