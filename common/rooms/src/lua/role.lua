-- role: makes somebody moderator, participant or guest, on all of its devices and for as long as the room is there.
--
-- KEYS    1-4 as seats
-- ARGV    1-7 as seats   8-11 as command   12 peer   13 role
-- replies OK | NOPEER | ABOVE | DENIED | STALE | ABSENT
local role = ARGV[13]
local rank, refused = commander()
if not rank then return refused end
local seat = get_seat(ARGV[12])
if not seat or seat.state == 'waiting' then return done({'NOPEER'}) end
if RANK[seat.role] >= rank then return done({'ABOVE'}) end
redis.call('HSET', room_key, 'g:' .. seat.uid, role)
local seats = all_seats()
for _, other in ipairs(seats) do
  if other.uid == seat.uid and other.state ~= 'waiting' and other.role ~= role then change_role(other, role, seats) end
end
return done({'OK'})
