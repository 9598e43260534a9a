-- detach: the socket of a seat was lost.
--
-- KEYS    1-4 as seats   5 the node's seats
-- ARGV    1-7 as seats   8 peer   9 gen   10 grace, ms   11 reconnecting, a template
-- replies OK | STALE
local peer, gen = ARGV[8], ARGV[9]
-- The caller's own entry goes in any case: whoever took the seat could not name this key.
redis.call('SREM', KEYS[5], room .. ' ' .. peer .. ' ' .. gen)
local seat = get_seat(peer)
if not seat or seat.gen ~= gen or seat.node == '-' then return {'STALE'} end
lose(seat, ARGV[10], ARGV[11])
return {'OK'}
