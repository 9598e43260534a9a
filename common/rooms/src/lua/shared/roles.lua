-- roles: the order of roles, changes of role, and the participants who see the lobby. Needs
-- seating.
local RANK = {guest = 0, participant = 1, moderator = 2, host = 3}

-- Returns every seat, the longest present first.
local function all_seats()
  local fields, seats = redis.call('HGETALL', room_key), {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 's:' then
      seats[#seats + 1] = parse_seat(string.sub(fields[i], 3), fields[i + 1])
    end
  end
  table.sort(seats, function(a, b)
    -- Entering the lobby logs nothing when no moderator is present, so that two waiting seats can
    -- have the same log id. Their generations then tell the order.
    if a.join == b.join then return tonumber(a.gen) < tonumber(b.gen) end
    return before(a.join, b.join)
  end)
  return seats
end

-- Sends an event about the lobby to host and moderators, who alone may admit.
local function send_to_moderators(event)
  for _, seat in ipairs(all_seats()) do
    if seat.state ~= 'waiting' and RANK[seat.role] >= RANK.moderator then send_to_seat(seat, event) end
  end
end

-- Returns the role of a user who is not host: the role assigned in this room, else the role that
-- the kind of user has.
local function plain_role(uid)
  return redis.call('HGET', room_key, 'g:' .. uid)
    or (string.sub(uid, 1, 6) == 'guest-' and 'guest' or 'participant')
end

-- Gives a seat a role and announces it. A seat that becomes moderator or host receives the join
-- requests that are open.
local function change_role(seat, role, seats)
  local sees_lobby = RANK[seat.role] < RANK.moderator and RANK[role] >= RANK.moderator
  seat.role = role
  put_seat(seat)
  local found = redis.call('HMGET', room_key, 'host', 'c', 'n')
  broadcast('-', fill(role_event, seat.peer, seat.uid, nil, role, found[1]))
  fact('role', found[2], seat.peer, seat.uid, seat.join, found[3], '{"role":"' .. role .. '"}')
  for _, other in ipairs(sees_lobby and seats or {}) do
    if other.state == 'waiting' then
      local participant = redis.call('HGET', room_key, 'i:' .. other.peer)
      send_to_seat(seat, fill(request_event, other.peer, other.uid, participant))
    end
  end
end

-- Makes a user host on all devices. The previous host gets their plain role back.
local function make_host(uid)
  redis.call('HSET', room_key, 'host', uid)
  local seats = all_seats()
  for _, seat in ipairs(seats) do
    local role = seat.role
    if seat.uid == uid then role = 'host' elseif role == 'host' then role = plain_role(seat.uid) end
    if seat.state ~= 'waiting' and role ~= seat.role then change_role(seat, role, seats) end
  end
end

-- Appoints the next host after the last seat of host `uid` ended: the longest present participant
-- with the highest role. A guest becomes host only if no other role is left.
local function appoint_next_host(uid)
  local heir
  for _, seat in ipairs(all_seats()) do
    if seat.state ~= 'waiting' then
      if seat.uid == uid then return end
      if not heir or RANK[seat.role] > RANK[heir.role] then heir = seat end
    end
  end
  if heir then make_host(heir.uid) end
end
