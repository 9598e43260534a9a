-- revoke: a sign-in is over, though its tokens are not.
--
-- KEYS    1 the list of them, a stream
-- ARGV    1 the sign-in   2 how long it is to be remembered, ms
-- replies OK id
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id = redis.call('XADD', KEYS[1], '*', 's', ARGV[1], 'u', string.format('%d', now + ARGV[2]))
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%d', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'OK', id}
