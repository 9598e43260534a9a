-- permissions: what a user of an app may do. Used by permissions and join. Needs seating, roles and
-- media_state.

-- Gives a user these permissions, as JSON, on all devices, and announces those that are new to a
-- device. Media that are on and not allowed any more are switched off. `events` are templates, one
-- a line: permissions-changed, media-state-changed, and muted of video, audio and screen.
local function give_permissions(uid, permissions, events)
  local changed_event, media_event, video_event, audio_event, screen_event =
    string.match(events, '^(.-)\n(.-)\n(.-)\n(.-)\n(.*)$')
  local values = cjson.decode(permissions)
  local KINDS = {{'videoEnabled', 'canPublish', video_event}, {'audioEnabled', 'canPublish', audio_event},
    {'screenShareEnabled', 'canShareScreen', screen_event}}

  -- Switches off what the permissions do not allow. Returns the media, and the events that tell the
  -- participant.
  local function restrict(media)
    local muted_events = {}
    for _, entry in ipairs(KINDS) do
      local kind, permission, muted_event = unpack(entry)
      if media[kind] and not values[permission] then
        media[kind] = false
        muted_events[#muted_events + 1] = muted_event
      end
    end
    return media, muted_events
  end

  local function give(seat, participant, media_text)
    local peer = seat.peer
    local media, muted_events = restrict(cjson.decode(media_text))
    local public = public_media(media)
    -- Replacing text is safe: inside a JSON string each quote follows a backslash, and `user`,
    -- whose metadata may have fields of the same name, comes last. Neither text has a `%`. A seat
    -- that a node of an older version gave has no permissions.
    local shown = '"permissions":' .. permissions
    local media_field = '"mediaState":' .. public
    if cjson.decode(participant).permissions then
      participant = string.gsub(participant, '"permissions":{[^}]*}', shown, 1)
    else
      media_field = shown .. ',' .. media_field
    end
    participant = string.gsub(participant, '"mediaState":{[^}]*}', media_field, 1)
    redis.call('HSET', room_key, 'i:' .. peer, participant, 'v:' .. peer, cjson.encode(media))
    local event = fill(changed_event, peer, seat.uid, permissions)
    if seat.state == 'waiting' then
      send_to_moderators(event)
      send_to_seat(seat, event)
    else
      broadcast('-', event)
      if #muted_events > 0 then broadcast(peer, fill(media_event, peer, seat.uid, public)) end
      for _, muted_event in ipairs(muted_events) do
        send_to_seat(seat, fill(muted_event, peer, seat.uid, public))
      end
    end
  end

  local function has_them(participant)
    local known = cjson.decode(participant).permissions or {}
    for name, value in pairs(values) do
      if known[name] ~= value then return false end
    end
    return true
  end

  for _, seat in ipairs(seats_of(uid)) do
    local stored = redis.call('HMGET', room_key, 'i:' .. seat.peer, 'v:' .. seat.peer)
    if not has_them(stored[1]) then give(seat, stored[1], stored[2]) end
  end
end
