-- lower_hand: lowers the hand of a participant and tells everyone. A hand that is down stays as it
-- is, and nobody is told.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer   13 hand-changed, a template
-- replies OK | NOPEER | ABOVE | DENIED | STALE | ABSENT
local target, event = ARGV[12], ARGV[13]
local rank, refused = caller_rank()
if not rank then return refused end
local seat = get_seat(target)
if not seat or seat.state == 'waiting' then return answer({'NOPEER'}) end
if RANK[seat.role] >= rank then return answer({'ABOVE'}) end
if redis.call('HDEL', room_key, 'h:' .. seat.peer) == 1 then
  broadcast('-', fill(event, seat.peer, seat.uid))
end
return answer({'OK'})
