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

-- Announces the new profile of a seat: in the call to everyone, in the lobby to host and
-- moderators.
local function announce_profile(seat, event)
  if seat.state == 'waiting' then
    send_to_moderators(fill(event, seat.peer, seat.uid))
  else
    broadcast('-', fill(event, seat.peer, seat.uid))
  end
end
