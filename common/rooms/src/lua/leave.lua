-- leave: a session gives up its seat.
--
-- KEYS    1-4 as seats   5 the node's seats
-- ARGV    1-7 as seats   8 peer   9 gen
-- replies OK | STALE
local peer, gen = ARGV[8], ARGV[9]
redis.call('SREM', KEYS[5], room .. ' ' .. peer .. ' ' .. gen)
local seat = get_seat(peer)
if not seat or seat.gen ~= gen then return {'STALE'} end
unseat(seat)
return {'OK'}
