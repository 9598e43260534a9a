-- Shared by the scripts that can end a call: end, expire.
--
-- KEYS[5] the history of its chat
--
-- Everybody is told, every presence ends in the outbox, and a tombstone keeps the room from being opened again for a while.
local function end_call(call, event, details, tombstone)
  local fields = redis.call('HGETALL', room_key)
  local nodes, seats = '', {}
  for i = 1, #fields, 2 do
    if fields[i] == 'nodes' then nodes = fields[i + 1] end
    if string.sub(fields[i], 1, 2) == 's:' then seats[#seats + 1] = string.sub(fields[i], 3) end
  end
  if #fields > 0 then
    local id = log('*', '-', '-', event)
    tell_all(nodes, id, '-', event)
    tell_all(nodes, id, '-', '!ended')
  end
  local present = tonumber(redis.call('HGET', room_key, 'n') or 0)
  for _, peer in ipairs(seats) do
    local seat = get_seat(peer)
    redis.call('ZREM', deadlines, room .. ' ' .. peer .. ' ' .. seat.gen)
    if seat.state == 'waiting' then
      -- No broadcast reaches the lobby.
      if seat.node ~= '-' then
        local id = log(peer, '-', '-', event)
        tell_one(seat.node, seat.handle, id, event)
        tell_one(seat.node, seat.handle, id, '!ended')
      end
    else
      present = present - 1
      fact('left', call, peer, seat.uid, seat.join, present, left_details)
    end
  end
  fact('ended', call, '-', '-', '-', 0, details)
  redis.call('ZREM', deadlines, room .. ' * 0')
  redis.call('DEL', room_key, log_key, KEYS[5])
  redis.call('HSET', room_key, 'st', 'ended', 'c', call)
  redis.call('PEXPIRE', room_key, tombstone)
end
