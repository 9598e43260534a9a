-- role: gives a user a role, on all devices and for the life of the room. An operator may make the
-- user host. A host keeps the role until another participant becomes host.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer   13 role
-- replies OK | NOPEER | ABOVE | STANDIN | DENIED | STALE | ABSENT
local target, role = ARGV[12], ARGV[13]
local rank, refused = caller_rank()
if not rank then return refused end
local seat = get_seat(target)
if not seat or seat.state == 'waiting' then return answer({'NOPEER'}) end
if RANK[seat.role] >= rank or seat.role == 'host' and role ~= 'host' then return answer({'ABOVE'}) end
-- An assigned role stays when the host is back.
if RANK[role] > RANK[lasting_role()] then return answer({'STANDIN'}) end
redis.call('HSET', room_key, 'g:' .. seat.uid, role)
if role == 'host' then make_host(seat.uid) end
for _, other in ipairs(seats_of(seat.uid)) do
  if other.state ~= 'waiting' and other.role ~= role then change_role(other, role) end
end
return answer({'OK'})
