-- Shared by the scripts after which somebody may be host or moderator, or in the lobby, who was not: roles, and who is told of the lobby.
local RANK = {guest = 0, participant = 1, moderator = 2, host = 3}

-- Every seat, the longest present first.
local function all_seats()
  local fields, seats = redis.call('HGETALL', room_key), {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 's:' then
      seats[#seats + 1] = parse_seat(string.sub(fields[i], 3), fields[i + 1])
    end
  end
  table.sort(seats, function(a, b)
    -- Who waits unseen by anybody has logged nothing: then the seats' own numbers tell who came first.
    if a.join == b.join then return tonumber(a.gen) < tonumber(b.gen) end
    return before(a.join, b.join)
  end)
  return seats
end

-- Those who may let people in hear of the lobby; nobody else does.
local function tell_moderators(event)
  for _, seat in ipairs(all_seats()) do
    if seat.state ~= 'waiting' and RANK[seat.role] >= RANK.moderator then tell_seat(seat, event) end
  end
end

-- What somebody is who is not host: what it was made in this room, else what it came as.
local function plain_role(uid)
  return redis.call('HGET', room_key, 'g:' .. uid) or (string.sub(uid, 1, 6) == 'guest-' and 'guest' or 'participant')
end

-- Gives a seat a role, and tells everybody. Whoever comes to hear of the lobby is told who is there.
local function change_role(seat, role, seats)
  local hears = RANK[seat.role] < RANK.moderator and RANK[role] >= RANK.moderator
  seat.role = role
  put_seat(seat)
  local found = redis.call('HMGET', room_key, 'host', 'c', 'n')
  announce('-', fill(role_event, seat.peer, seat.uid, nil, role, found[1]))
  fact('role', found[2], seat.peer, seat.uid, seat.join, found[3], '{"role":"' .. role .. '"}')
  for _, other in ipairs(hears and seats or {}) do
    if other.state == 'waiting' then
      tell_seat(seat, fill(request_event, other.peer, other.uid, redis.call('HGET', room_key, 'i:' .. other.peer)))
    end
  end
end

-- Makes a user host, on all of its devices; whoever was is again what it is besides.
local function make_host(uid)
  redis.call('HSET', room_key, 'host', uid)
  local seats = all_seats()
  for _, seat in ipairs(seats) do
    local role = seat.role
    if seat.uid == uid then role = 'host' elseif role == 'host' then role = plain_role(seat.uid) end
    if seat.state ~= 'waiting' and role ~= seat.role then change_role(seat, role, seats) end
  end
end

-- The host is gone for good: the longest present of those with the highest role is host. A guest only when nobody else is left.
local function succeed(uid)
  local heir
  for _, seat in ipairs(all_seats()) do
    if seat.state ~= 'waiting' then
      if seat.uid == uid then return end
      if not heir or RANK[seat.role] > RANK[heir.role] then heir = seat end
    end
  end
  if heir then make_host(heir.uid) end
end
