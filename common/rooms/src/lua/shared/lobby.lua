-- lobby: admission from the lobby. Needs seating and roles.

-- Moves a waiting seat into the call, whether or not its socket is there at this moment.
local function admit_seat(seat, now, away_event)
  local peer = seat.peer
  local found = redis.call('HMGET', room_key, 'i:' .. peer, 'w:' .. peer, 'f:' .. peer, 'c')
  local participant, joined_event, joined_details, call = found[1], found[2], found[3], found[4]
  -- Replacing text is safe: inside a JSON string each quote follows a backslash, so that no name
  -- can look like these fields. The first match is the field, because `user`, whose metadata may
  -- have fields of the same name, comes last.
  local connected = '"connectionState":"connected"'
  participant = string.gsub(participant, '"connectionState":"waiting"', connected, 1)
  participant = string.gsub(participant, '"joinedAt":"[^"]*"', '"joinedAt":"' .. now .. '"', 1)
  -- The user may have got a role on another device while this one waited.
  local role = redis.call('HGET', room_key, 'host') == seat.uid and 'host'
    or redis.call('HGET', room_key, 'g:' .. seat.uid) or seat.role
  if role ~= seat.role then
    local old, new = '"role":"' .. seat.role .. '"', '"role":"' .. role .. '"'
    participant = string.gsub(participant, old, new, 1)
    if joined_details then joined_details = string.gsub(joined_details, old, new, 1) end
    seat.role = role
  end
  local away = seat.node == '-'
  if not away then
    participant = string.gsub(participant, '"node":"[^"]*"', '"node":"' .. seat.node .. '"', 1)
  end
  redis.call('HDEL', room_key, 'w:' .. peer, 'f:' .. peer)
  redis.call('HSET', room_key, 'i:' .. peer, participant)
  redis.call('HINCRBY', room_key, 'w', -1)
  seat.join = broadcast(peer, fill(joined_event, peer, seat.uid, participant))
  seat.state = away and 'reconnecting' or 'connected'
  if not away then count_at(seat.node, 1) end
  record_join(call, seat, joined_details)
  put_seat(seat)
  set_place(seat)
  send_to_seat(seat, '!admitted ' .. seat.join)
  if away then broadcast(peer, fill(away_event, peer, seat.uid)) end
  if role == 'host' and redis.call('HGET', room_key, 'host') ~= seat.uid then make_host(seat.uid) end
end

-- Admits these waiting peers, in their order, while there are places. Returns the admitted peers
-- and whether a peer found no place.
local function admit_waiting(peers, now, away_event)
  local found = redis.call('HMGET', room_key, 'cap', 'n')
  local places = math.max(found[1] - found[2], 0)
  local admitted = {}
  for index = 1, math.min(#peers, places) do
    admit_seat(get_seat(peers[index]), now, away_event)
    admitted[index] = peers[index]
  end
  return admitted, #peers > places
end

-- Returns the guests among these peers.
local function guests_of(peers)
  local guests = {}
  for _, peer in ipairs(peers) do
    if is_guest(peer) then guests[#guests + 1] = peer end
  end
  return guests
end
