-- deny: turns somebody away from the lobby.
--
-- KEYS    1-4 as seats
-- ARGV    1-7 as seats   8-11 as command   12 peer   13 denied, the event
-- replies OK | NOPEER | DENIED | STALE | ABSENT
local rank, refused = commander()
if not rank then return refused end
local seat = get_seat(ARGV[12])
if not seat or seat.state ~= 'waiting' then return done({'NOPEER'}) end
send_away(seat, ARGV[13])
return done({'OK'})
