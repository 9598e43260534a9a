-- profile: the name and picture of a participant. Used by join and profile. Needs seating and
-- roles.

-- Returns the data that an app gave a user, as text.
local function metadata_of(user)
  return user.metadata ~= nil and cjson.encode(user.metadata) or ''
end

-- Returns whether two participants, as JSON, show the same name, picture and metadata.
local function same_profile(one, other)
  local a, b = cjson.decode(one).user or {}, cjson.decode(other).user or {}
  return a.name == b.name and a.avatar == b.avatar and metadata_of(a) == metadata_of(b)
end

-- Returns the user of a participant, as JSON: the last field of the participant. Inside a JSON
-- string each quote follows a backslash, so the first match is the field.
local function profile_of(participant)
  return string.match(participant, '^.-,"user":(.*)}$')
end

-- Announces the profile of a seat's user, as JSON: in the call to everyone, in the lobby to host
-- and moderators. `event` is a template.
local function announce_profile(seat, event, user)
  event = fill(event, seat.peer, seat.uid, user)
  if seat.state == 'waiting' then send_to_moderators(event) else broadcast('-', event) end
end
