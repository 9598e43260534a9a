-- kick: removes somebody, with all devices, from the room or its lobby.
--
-- KEYS    1-4 as seats
-- ARGV    1-7 as seats   8-11 as command   12 peer   13 1 to ban   14 kicked, a template
-- replies OK | NOPEER | ABOVE | DENIED | STALE | ABSENT
local bans = ARGV[13] == '1'
local rank, refused = commander()
if not rank then return refused end
local found = get_seat(ARGV[12])
if not found then return done({'NOPEER'}) end
if RANK[found.role] >= rank then return done({'ABOVE'}) end
-- No token that was issued before this opens the room again.
redis.call('HSET', room_key, 'k:' .. found.uid, string.format('%.0f', now_ms()))
if bans then redis.call('HSET', room_key, 'b:' .. found.uid, 1) end
for _, seat in ipairs(seats_of(found.uid)) do
  -- A guest is whoever it says it is: its address stays out too.
  if bans and seat.address ~= '-' then redis.call('HSET', room_key, 'b:@' .. seat.address, 1) end
  send_away(seat, fill(ARGV[14], seat.peer, seat.uid))
end
return done({'OK'})
