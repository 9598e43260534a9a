-- kick: removes a user, with all devices, from the call or the lobby.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer   13 1 to ban
--         14 kicked, a template
-- replies OK | NOPEER | ABOVE | STANDIN | DENIED | STALE | ABSENT
local target, bans, kicked_event = ARGV[12], ARGV[13] == '1', ARGV[14]
local rank, refused = caller_rank()
if not rank then return refused end
local found = get_seat(target)
if not found then return answer({'NOPEER'}) end
if RANK[found.role] >= rank then return answer({'ABOVE'}) end
if bans and RANK[lasting_role()] < RANK.moderator then return answer({'STANDIN'}) end
-- Tokens that were issued until now do not open the room again.
redis.call('HSET', room_key, 'k:' .. found.uid, string.format('%.0f', now_ms()))
if bans then redis.call('HSET', room_key, 'b:' .. found.uid, 1) end
for _, seat in ipairs(seats_of(found.uid)) do
  -- The user can come back as a guest, and a guest under another identity, so a ban covers the
  -- address too. `join` asks it of guests alone: others who share it come in with their accounts.
  if bans and seat.address ~= '-' then
    for hash in string.gmatch(seat.address, '[^,]+') do redis.call('HSET', room_key, 'b:@' .. hash, 1) end
  end
  remove_participant(seat, fill(kicked_event, seat.peer, seat.uid))
end
-- A host who was removed comes back with the role of the new token.
redis.call('HDEL', room_key, 't:' .. found.uid)
if redis.call('HGET', room_key, 'g:' .. found.uid) == 'host' then
  redis.call('HDEL', room_key, 'g:' .. found.uid)
end
if redis.call('HGET', room_key, 'host') == found.uid then
  redis.call('HSET', room_key, 'host', cjson.decode(redis.call('HGET', room_key, 'm')).host)
end
return answer({'OK'})
