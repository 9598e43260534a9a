-- leave: a session gives up its seat.
--
-- KEYS    1-2 prelude   3-5 seating   6 seats of the node
-- ARGV    1-4 prelude   5-7 seating   8 peer   9 generation
-- replies OK | STALE
local peer, gen = ARGV[8], ARGV[9]
-- Removed in any case: a script that took the seat elsewhere could not name this node's set.
redis.call('SREM', KEYS[6], member_of(peer, gen))
local seat = get_seat(peer)
if not seat or seat.gen ~= gen then return {'STALE'} end
free_seat(seat)
return {'OK'}
