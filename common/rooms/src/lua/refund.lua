-- refund: gives one request back that spend took.
--
-- KEYS    1 as spend
-- ARGV    1 as spend
-- replies OK
local full = redis.call('GET', KEYS[1])
if full then redis.call('SET', KEYS[1], string.format('%.0f', full - ARGV[1]), 'KEEPTTL') end
return {'OK'}
