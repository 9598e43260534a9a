-- profile: a user changed their name or picture.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8 user id   9 time of the change, ms since the Unix epoch
--         10 user, JSON   11 profile-changed, a template   12 user-joined, a template
-- replies OK      the user's seats in this room have the new profile
--         STALE   a later change is known already, or the room is not open
local uid, changed_ms, user = ARGV[8], ARGV[9], ARGV[10]
local changed_event, joined_template = ARGV[11], ARGV[12]
local state, known_ms = unpack(redis.call('HMGET', room_key, 'st', 't:' .. uid))
-- Two changes at the same time may arrive in the other order.
if state ~= 'open' or tonumber(known_ms or 0) > tonumber(changed_ms) then return {'STALE'} end

-- Returns an object, as JSON, with another field `user`. It comes last, because scripts replace the
-- first match of a field, and as it came, because a decoded `[]` is encoded as `{}`.
local function with_user(object)
  object = cjson.decode(object)
  object.user = nil
  return string.sub(cjson.encode(object), 1, -2) .. ',"user":' .. user .. '}'
end

local seats = seats_of(uid)
if #seats > 0 then redis.call('HSET', room_key, 't:' .. uid, changed_ms) end
for _, seat in ipairs(seats) do
  local peer = seat.peer
  redis.call('HSET', room_key, 'i:' .. peer, with_user(redis.call('HGET', room_key, 'i:' .. peer)))
  local details = redis.call('HGET', room_key, 'f:' .. peer)
  if details then
    -- What the admission from the lobby will announce.
    redis.call('HSET', room_key, 'w:' .. peer, joined_template, 'f:' .. peer, with_user(details))
  end
  announce_profile(seat, changed_event)
end
return {'OK'}
