-- sweep-one: turns one seat of a dead node to reconnecting.
--
-- KEYS    1-4 as seats   5 the dead node's seats   6 the sweeps under way
-- ARGV    1-7 as seats   8 peer   9 gen   10 node   11 grace, ms   12 reconnecting, a template   13 the name of the sweep
-- replies OK | STALE
local peer, gen, node = ARGV[8], ARGV[9], ARGV[10]
local seat = get_seat(peer)
local reply = 'STALE'
if seat and seat.gen == gen and seat.node == node then
  -- The node may only have been slow: its session must know that it lost the seat.
  drop(seat)
  lose(seat, ARGV[11], ARGV[12])
  reply = 'OK'
end
redis.call('SREM', KEYS[5], room .. ' ' .. peer .. ' ' .. gen)
if redis.call('EXISTS', KEYS[5]) == 0 then redis.call('SREM', KEYS[6], ARGV[13]) end
return {reply}
