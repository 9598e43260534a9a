-- sweep_one: turns one seat of a dead node to reconnecting.
--
-- KEYS    1-2 prelude   3-5 seating   6 seats to sweep   7 sweeps in progress
-- ARGV    1-4 prelude   5-7 seating   8 peer   9 generation   10 node   11 grace period, ms
--         12 reconnecting, a template   13 name of the sweep
-- replies OK | STALE
local peer, gen, node, grace = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local reconnecting_event, sweep = ARGV[12], ARGV[13]
local seat = get_seat(peer)
local reply = 'STALE'
if seat and seat.gen == gen and seat.node == node then
  -- The node may only have been slow, so its session must learn that it lost the seat.
  drop_session(seat)
  mark_reconnecting(seat, grace, reconnecting_event)
  reply = 'OK'
end
redis.call('SREM', KEYS[6], member_of(peer, gen))
if redis.call('EXISTS', KEYS[6]) == 0 then redis.call('SREM', KEYS[7], sweep) end
return {reply}
