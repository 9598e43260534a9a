-- refund: gives back one request that spend took.
--
-- KEYS    1 as in spend
-- ARGV    1 as in spend
-- replies OK
local interval = ARGV[1]
local full = redis.call('GET', KEYS[1])
if full then redis.call('SET', KEYS[1], string.format('%.0f', full - interval), 'KEEPTTL') end
return {'OK'}
