-- permissions: changes what a user may do, on all devices and for the life of the room. Media that
-- are on and not allowed any more are switched off. A repetition changes and announces nothing.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer   13 permissions to change, JSON
--         14 permissions-changed, a template   15 media-state-changed, a template
--         16-18 muted of video, audio and screen, templates
-- replies OK | NOPEER | ABOVE | DENIED | STALE | ABSENT
local target, change, changed_event, media_event = ARGV[12], ARGV[13], ARGV[14], ARGV[15]
local rank, refused = caller_rank()
if not rank then return refused end
local found = get_seat(target)
if not found then return answer({'NOPEER'}) end
if RANK[found.role] >= rank then return answer({'ABOVE'}) end

-- The permissions of before are those given in this room, else those of the token.
local current = redis.call('HGET', room_key, 'r:' .. found.uid)
local values = current and cjson.decode(current)
  or cjson.decode(redis.call('HGET', room_key, 'i:' .. target)).permissions or {}
for name, value in pairs(cjson.decode(change)) do values[name] = value end
local function allowed(name) return values[name] ~= false end
-- The same text as CallPermissions::to_json, because `join` compares it.
local permissions = string.format('{"canPublish":%s,"canShareScreen":%s,"canChat":%s}',
  tostring(allowed('canPublish')), tostring(allowed('canShareScreen')), tostring(allowed('canChat')))
if permissions == current then return answer({'OK'}) end
redis.call('HSET', room_key, 'r:' .. found.uid, permissions)

local KINDS = {{'videoEnabled', 'canPublish', ARGV[16]}, {'audioEnabled', 'canPublish', ARGV[17]},
  {'screenShareEnabled', 'canShareScreen', ARGV[18]}}

-- Switches off what the permissions do not allow. Returns the media, and the events that tell the
-- participant.
local function restrict(media)
  local muted_events = {}
  for _, entry in ipairs(KINDS) do
    local kind, permission, muted_event = unpack(entry)
    if media[kind] and not allowed(permission) then
      media[kind] = false
      muted_events[#muted_events + 1] = muted_event
    end
  end
  return media, muted_events
end

for _, seat in ipairs(seats_of(found.uid)) do
  local peer = seat.peer
  local stored = redis.call('HMGET', room_key, 'i:' .. peer, 'v:' .. peer)
  local media, muted_events = restrict(cjson.decode(stored[2]))
  local public = public_media(media)
  -- Replacing text is safe: inside a JSON string each quote follows a backslash, and `user`, whose
  -- metadata may have fields of the same name, comes last. Neither text has a `%`. A seat that a
  -- node of an older version gave has no permissions.
  local participant, shown = stored[1], '"permissions":' .. permissions
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
return answer({'OK'})
