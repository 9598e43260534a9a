-- end_call: ends a call. Used by end and expire. Needs seating.
--
-- KEYS    6 chat history of the room   7 index of the chat history

-- Sends call-ended to every session, writes the `left` and `ended` facts, and leaves a tombstone,
-- so that the room cannot be opened again for `tombstone` ms.
local function end_call(call, event, details, tombstone)
  local fields = redis.call('HGETALL', room_key)
  local nodes, seats = '', {}
  for i = 1, #fields, 2 do
    if fields[i] == 'nodes' then nodes = fields[i + 1] end
    if string.sub(fields[i], 1, 2) == 's:' then
      seats[#seats + 1] = parse_seat(string.sub(fields[i], 3), fields[i + 1])
    end
  end
  if #fields > 0 then
    local id = log('*', '-', '-', event)
    publish_to_room(nodes, id, '-', event)
    publish_to_room(nodes, id, '-', '!ended')
  end
  local present = tonumber(redis.call('HGET', room_key, 'n') or 0)
  for _, seat in ipairs(seats) do
    local peer = seat.peer
    redis.call('ZREM', deadlines, member_of(peer, seat.gen))
    if seat.state == 'waiting' then
      -- The lobby receives no broadcasts, so each waiting session gets the event by itself.
      if seat.node ~= '-' then
        local id = log(peer, '-', '-', event)
        publish_to_session(seat.node, seat.handle, id, event)
        publish_to_session(seat.node, seat.handle, id, '!ended')
      end
    else
      present = present - 1
      fact('left', call, peer, seat.uid, seat.join, present, left_details)
    end
  end
  fact('ended', call, '-', '-', '-', 0, details)
  redis.call('ZREM', deadlines, member_of('*', 0))
  redis.call('DEL', room_key, log_key, order, KEYS[6], KEYS[7])
  redis.call('HSET', room_key, 'st', 'ended', 'c', call)
  redis.call('PEXPIRE', room_key, tombstone)
end
