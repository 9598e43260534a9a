-- Shared by the scripts after which a seat has no socket, or is no more.

-- Ends a seat. `returns`: its user takes another at once, so that its going changes nothing about who is host.
local function unseat(seat, returns)
  local peer = seat.peer
  local participant = redis.call('HGET', room_key, 'i:' .. peer) or 'null'
  if seat.state == 'connected' then count_at(seat.node, -1) end
  redis.call('HDEL', room_key, 's:' .. peer, 'o:' .. peer, 'i:' .. peer, 'v:' .. peer, 'a:' .. peer, 'c:' .. peer,
    'w:' .. peer, 'f:' .. peer, 'p:' .. seat.pid)
  redis.call('ZREM', deadlines, room .. ' ' .. peer .. ' ' .. seat.gen)
  -- A seat that was put back has a generation that this room did not give: nothing else would keep it from being put back again.
  if tonumber(seat.gen) < tonumber(redis.call('HGET', room_key, 'born')) then
    redis.call('HSET', room_key, 'x:' .. peer, seat.gen)
  end
  if seat.state == 'waiting' then
    redis.call('HINCRBY', room_key, 'w', -1)
    tell_moderators(fill(cancelled_event, peer, seat.uid))
    return
  end
  local taken = redis.call('HINCRBY', room_key, 'n', -1)
  announce(peer, fill(left_event, peer, seat.uid, participant))
  fact('left', redis.call('HGET', room_key, 'c'), peer, seat.uid, seat.join, taken, left_details)
  if seat.role == 'host' and not returns then succeed(seat.uid) end
  if taken == 0 then await_empty(now_ms()) end
  -- A place is free: whoever waits for nothing else is let in soon, by the janitor.
  if tonumber(redis.call('HGET', room_key, 'w') or 0) > 0 then redis.call('ZADD', deadlines, now_ms(), room .. ' + 0') end
end

-- A seat without a socket: kept for the grace. Of those in the lobby nobody needs to know.
local function lose(seat, grace, event)
  local took_part = seat.state == 'connected'
  if took_part then
    count_at(seat.node, -1)
    seat.state = 'reconnecting'
  end
  seat.node, seat.handle, seat.gen = '-', '-', next_gen()
  put_seat(seat)
  redis.call('ZADD', deadlines, now_ms() + grace, room .. ' ' .. seat.peer .. ' ' .. seat.gen)
  if took_part then announce(seat.peer, fill(event, seat.peer, seat.uid)) end
end

-- Sends somebody away: told why, and in no room from then on, though its socket stays.
local function send_away(seat, event)
  local id = tell_seat(seat, event)
  if seat.node ~= '-' then tell_one(seat.node, seat.handle, id, '!ended') end
  unseat(seat)
end
