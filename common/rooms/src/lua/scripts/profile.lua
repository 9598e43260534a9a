-- profile: changes the name, the picture or the app's data of a user, on all devices. A field that
-- is not named stays, so that of two changes at the same time none is lost.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8 user id
--         9 time of a change that was stored elsewhere, ms since the Unix epoch, or -
--         10 name   11 picture   12 app's data: JSON, null to remove it, or - to leave it
--         13 profile-changed, a template   14 user-joined, a template
-- replies OK      the user's seats in this room have the new profile
--         STALE   a later change is known already, or the room is not open
local uid, changed_ms = ARGV[8], ARGV[9]
local name, avatar, metadata = ARGV[10], ARGV[11], ARGV[12]
local changed_event, joined_template = ARGV[13], ARGV[14]
local state, known_ms = unpack(redis.call('HMGET', room_key, 'st', 'u:' .. uid))
if state ~= 'open' then return {'STALE'} end
local seats = seats_of(uid)
if changed_ms ~= '-' then
  -- Two changes at the same time may arrive in the other order.
  if tonumber(known_ms or 0) > tonumber(changed_ms) then return {'STALE'} end
  if #seats > 0 then redis.call('HSET', room_key, 'u:' .. uid, changed_ms) end
end

-- Returns the app's data in a participant as they came, because a decoded `[]` is encoded as `{}`.
-- `data` are the decoded ones.
local function metadata_text(participant, data)
  local text = string.match(profile_of(participant), '^.-"metadata":(.*)}$')
  -- Older versions wrote the name behind the data.
  return pcall(cjson.decode, '[' .. text .. ']') and text or cjson.encode(data)
end

-- Returns one field of a user as JSON with a comma before it, or nothing if it has no value.
-- `current` returns the JSON of the field as it is.
local function field(key, given, current)
  local value = given
  if given == '-' then value = current() end
  return value and value ~= 'null' and ',"' .. key .. '":' .. value or ''
end

-- Returns the changed user of a participant, as JSON. The data come last, as in a new participant.
local function changed_user(participant)
  local user = cjson.decode(participant).user
  local function encoded(value) return value ~= nil and cjson.encode(value) end
  return '{"_id":' .. cjson.encode(user._id) .. field('id', '-', function() return encoded(user.id) end)
    .. field('name', name, function() return encoded(user.name) end)
    .. field('avatar', avatar, function() return encoded(user.avatar) end)
    .. field('isGuest', '-', function() return encoded(user.isGuest) end)
    .. field('metadata', metadata, function()
      return user.metadata ~= nil and metadata_text(participant, user.metadata)
    end) .. '}'
end

-- Returns an object, as JSON, with another field `user`. It comes last, because scripts replace the
-- first match of a field.
local function with_user(object, user)
  object = cjson.decode(object)
  object.user = nil
  return string.sub(cjson.encode(object), 1, -2) .. ',"user":' .. user .. '}'
end

for _, seat in ipairs(seats) do
  local peer = seat.peer
  local found = redis.call('HMGET', room_key, 'i:' .. peer, 'f:' .. peer)
  local participant, details = found[1], found[2]
  local user = changed_user(participant)
  redis.call('HSET', room_key, 'i:' .. peer, with_user(participant, user))
  if details then
    -- What the admission from the lobby will announce.
    local joined_event = string.gsub(joined_template, '"\\u0000"', function() return user end, 1)
    redis.call('HSET', room_key, 'w:' .. peer, joined_event, 'f:' .. peer, with_user(details, user))
  end
  announce_profile(seat, changed_event, user)
end
return {'OK'}
