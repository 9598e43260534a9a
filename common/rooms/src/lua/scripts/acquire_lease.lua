-- acquire_lease: takes or renews the lease of an outbox.
--
-- KEYS    1 lease
-- ARGV    1 token   2 duration of the lease, ms
-- replies OK | LOST
local token, duration = ARGV[1], ARGV[2]
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= token then return {'LOST'} end
redis.call('SET', KEYS[1], token, 'PX', duration)
return {'OK'}
