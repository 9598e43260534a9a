-- alive: the socket of a seat has shown that its client is alive.
--
-- KEYS    1-2 prelude
-- ARGV    1-4 prelude   5 peer   6 generation of the seat
-- replies OK | STALE
local peer, gen = ARGV[5], ARGV[6]
local _, current, node = string.match(redis.call('HGET', room_key, 's:' .. peer) or '', SEAT_HEAD)
if current ~= gen or node == '-' then return {'STALE'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', room_key, 'a:' .. peer, string.format('%.0f', now))
return {'OK'}
