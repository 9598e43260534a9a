-- Shared by the scripts that let people in from the lobby: admit, update, expire.

-- Gives somebody who waits a place, whether or not its socket is there at this moment.
local function let_in(seat, now, away_event)
  local peer = seat.peer
  local found = redis.call('HMGET', room_key, 'i:' .. peer, 'w:' .. peer, 'f:' .. peer, 'c')
  -- Within a JSON text a quote has a backslash before it: no name can look like these.
  local participant = string.gsub(found[1], '"connectionState":"waiting"', '"connectionState":"connected"')
  participant = string.gsub(participant, '"joinedAt":"[^"]*"', '"joinedAt":"' .. now .. '"')
  -- What it was made while it waited, on another device of its user.
  local role = redis.call('HGET', room_key, 'host') == seat.uid and 'host' or redis.call('HGET', room_key, 'g:' .. seat.uid) or seat.role
  if role ~= seat.role then
    local old, new = '"role":"' .. seat.role .. '"', '"role":"' .. role .. '"'
    participant = string.gsub(participant, old, new)
    if found[3] then found[3] = string.gsub(found[3], old, new) end
    seat.role = role
  end
  local away = seat.node == '-'
  if not away then participant = string.gsub(participant, '"node":"[^"]*"', '"node":"' .. seat.node .. '"') end
  redis.call('HDEL', room_key, 'w:' .. peer, 'f:' .. peer)
  redis.call('HSET', room_key, 'i:' .. peer, participant)
  redis.call('HINCRBY', room_key, 'w', -1)
  seat.join = announce(peer, fill(found[2], peer, seat.uid, participant))
  seat.state = away and 'reconnecting' or 'connected'
  if not away then count_at(seat.node, 1) end
  fact('joined', found[4], peer, seat.uid, seat.join, occupy(), found[3])
  put_seat(seat)
  tell_seat(seat, '!admitted ' .. seat.join)
  if away then announce(peer, fill(away_event, peer, seat.uid)) end
end

-- Lets in those of the lobby that `wanted` picks, who came first first, while there are places. Who, and whether somebody found none.
local function let_in_all(wanted, now, away_event)
  local cap, admitted, full = tonumber(redis.call('HGET', room_key, 'cap')), {}, false
  for _, seat in ipairs(all_seats()) do
    if seat.state == 'waiting' and wanted(seat) then
      if tonumber(redis.call('HGET', room_key, 'n')) >= cap then
        full = true
      else
        let_in(seat, now, away_event)
        admitted[#admitted + 1] = seat.peer
      end
    end
  end
  return admitted, full
end
