-- revoke: revokes a sign-in before its tokens expire.
--
-- KEYS    1 revoked sign-ins, a stream
-- ARGV    1 sign-in   2 time to remember it, ms   3 reason
-- replies OK id
local sign_in, keep, reason = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id = redis.call('XADD', KEYS[1], '*', 's', sign_in, 'u', string.format('%d', now + keep), 'r', reason)
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%d', now - keep))
redis.call('PEXPIRE', KEYS[1], keep)
return {'OK', id}
