-- deny: refuses a participant who waits in the lobby.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer   13 denied, the event
-- replies OK | NOPEER | DENIED | STALE | ABSENT
local target, event = ARGV[12], ARGV[13]
local rank, refused = caller_rank()
if not rank then return refused end
local seat = get_seat(target)
if not seat or seat.state ~= 'waiting' then return answer({'NOPEER'}) end
local found = redis.call('HMGET', room_key, 'c', 'n')
fact('denied', found[1], target, seat.uid, seat.join, found[2], '{}')
remove_participant(seat, event)
return answer({'OK'})
