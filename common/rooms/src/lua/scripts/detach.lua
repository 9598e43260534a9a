-- detach: a seat lost its socket and is kept for the grace period.
--
-- KEYS    1-2 prelude   3-5 seating   6 seats of the node
-- ARGV    1-4 prelude   5-7 seating   8 peer   9 generation   10 grace period, ms
--         11 reconnecting, a template
-- replies OK | STALE
local peer, gen, grace, reconnecting_event = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
-- Removed in any case: a script that took the seat elsewhere could not name this node's set.
redis.call('SREM', KEYS[6], member_of(peer, gen))
local seat = get_seat(peer)
if not seat or seat.gen ~= gen or seat.node == '-' then return {'STALE'} end
mark_reconnecting(seat, grace, reconnecting_event)
return {'OK'}
