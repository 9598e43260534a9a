-- departure: a seat loses its socket, or ends. Needs seating and roles.

-- Frees a seat. `replaced`: the same user takes another seat in this script, so that the host stays
-- the same.
local function free_seat(seat, replaced)
  local peer = seat.peer
  local participant = redis.call('HGET', room_key, 'i:' .. peer) or 'null'
  if seat.state == 'connected' then count_at(seat.node, -1) end
  redis.call('HDEL', room_key, 's:' .. peer, 'o:' .. peer, 'i:' .. peer, 'v:' .. peer, 'h:' .. peer,
    'a:' .. peer, 'c:' .. peer, 'w:' .. peer, 'f:' .. peer, 'p:' .. seat.pid)
  redis.call('ZREM', order, peer)
  redis.call('ZREM', deadlines, member_of(peer, seat.gen))
  -- A seat that was put back after a loss of data has a generation that this room did not give.
  -- Without this mark, another node could put it back once more.
  if tonumber(seat.gen) < tonumber(redis.call('HGET', room_key, 'born')) then
    redis.call('HSET', room_key, 'x:' .. peer, seat.gen)
  end
  if seat.state == 'waiting' then
    redis.call('HINCRBY', room_key, 'w', -1)
    send_to_moderators(fill(cancelled_event, peer, seat.uid))
    return
  end
  local taken = redis.call('HINCRBY', room_key, 'n', -1)
  broadcast(peer, fill(left_event, peer, seat.uid, participant))
  fact('left', redis.call('HGET', room_key, 'c'), peer, seat.uid, seat.join, taken, left_details)
  if seat.role == 'host' and not replaced then appoint_next_host(seat.uid) end
  if taken == 0 then schedule_empty_room(now_ms()) end
  -- A place is free. This deadline makes the maintainer admit a participant who waits only because
  -- every place was taken.
  if tonumber(redis.call('HGET', room_key, 'w') or 0) > 0 then
    redis.call('ZADD', deadlines, now_ms(), member_of('+', 0))
  end
end

-- Keeps a seat without a socket for the grace period. In the lobby this is not announced.
local function mark_reconnecting(seat, grace, event)
  local was_connected = seat.state == 'connected'
  if was_connected then
    count_at(seat.node, -1)
    seat.state = 'reconnecting'
  end
  seat.node, seat.handle, seat.gen = '-', '-', next_gen()
  put_seat(seat)
  redis.call('ZADD', deadlines, now_ms() + grace, member_of(seat.peer, seat.gen))
  if was_connected then broadcast(seat.peer, fill(event, seat.peer, seat.uid)) end
end

-- Removes a participant: sends the reason, then frees the seat. The socket stays open, in no room.
local function remove_participant(seat, event)
  local id = send_to_seat(seat, event)
  if seat.node ~= '-' then publish_to_session(seat.node, seat.handle, id, '!ended') end
  free_seat(seat)
end
