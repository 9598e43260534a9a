-- roles: the order of the seats, changes of role, and the participants who see the lobby. Needs
-- seating.
--
-- The sorted set `order` keeps the order of succession: seats by role, highest first, then by
-- arrival. The lobby follows, by arrival. No script reads every seat to find the next host, the
-- moderators or the lobby: one participant can repeat the events that need them.
local RANK = {guest = 0, participant = 1, moderator = 2, host = 3}
local PLACE = {host = 0, moderator = 1, participant = 2, guest = 3, waiting = 4}

-- Returns the score at which a place begins. Its seats have the next 2^50 scores. A score has the
-- 53 bits that a sorted set keeps exactly.
local function place_start(place)
  return string.format('%.0f', PLACE[place] * 2 ^ 50)
end

-- Puts a seat at its place in the order. A seat in the call arrived with its log id: 42 bits of
-- milliseconds and 8 bits of the number within the millisecond. Waiting seats can share a log id,
-- because entering the lobby may log nothing, so their generation tells the arrival.
local function set_place(seat)
  local place, ms, number = seat.state, seat.gen, 0
  if place ~= 'waiting' then
    place = seat.role
    ms, number = string.match(seat.join, '^(%d+)-(%d+)$')
  end
  local score = PLACE[place] * 2 ^ 50 + ms * 256 + math.min(number, 255)
  redis.call('ZADD', order, string.format('%.0f', score), seat.peer)
end

-- Makes the order again if a node of an older version changed the room, because older versions keep
-- no order.
local function check_order()
  local found = redis.call('HMGET', room_key, 'n', 'w')
  if redis.call('ZCARD', order) == (found[1] or 0) + (found[2] or 0) then return end
  redis.call('DEL', order)
  local fields = redis.call('HGETALL', room_key)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 's:' then
      set_place(parse_seat(string.sub(fields[i], 3), fields[i + 1]))
    end
  end
end

-- Returns the peers in the lobby, the first to arrive first.
local function waiting_peers()
  check_order()
  return redis.call('ZRANGEBYSCORE', order, place_start('waiting'), '+inf')
end

-- Sorts seats by arrival, the longest present first.
local function sort_by_arrival(seats)
  table.sort(seats, function(a, b)
    if a.join == b.join then return tonumber(a.gen) < tonumber(b.gen) end
    return before(a.join, b.join)
  end)
end

-- Returns every seat of a user, one for each device, by arrival.
local function seats_of(uid)
  local seats, devices = {get_seat(uid)}, tonumber(redis.call('HGET', room_key, 'dev') or 1)
  for device = 2, devices do
    seats[#seats + 1] = get_seat(uid .. '#' .. device)
  end
  sort_by_arrival(seats)
  return seats
end

-- Counts one more participant. Returns the new number, and whether this is the first since the room
-- was opened. The call has taken place (`met`) from the moment at which its host has a seat, or two
-- users have one at the same time: a user who is there alone only waits for the others.
local function add_participant(seat)
  local taken = redis.call('HINCRBY', room_key, 'n', 1)
  local peak, met = unpack(redis.call('HMGET', room_key, 'peak', 'met'))
  if taken > tonumber(peak) then redis.call('HSET', room_key, 'peak', taken) end
  if taken == 1 then redis.call('ZREM', deadlines, member_of('*', 0)) end
  if not met then
    local own = 1
    for _, other in ipairs(seats_of(seat.uid)) do
      if other.state ~= 'waiting' and other.peer ~= seat.peer then own = own + 1 end
    end
    if seat.role == 'host' or taken > own then redis.call('HSET', room_key, 'met', 1) end
  end
  return taken, peak == '0'
end

-- Counts one more participant, and writes the `joined` fact.
local function record_join(call, seat, details)
  local taken, first = add_participant(seat)
  if first then details = string.gsub(details, '^{', '{"first":true,', 1) end
  fact('joined', call, seat.peer, seat.uid, seat.join, taken, details)
end

-- Sends an event about the lobby to host and moderators, who alone may admit: one entry of the log,
-- published once to each node. Each session of another role drops it.
local function send_to_moderators(event)
  check_order()
  if redis.call('ZCOUNT', order, '-inf', '(' .. place_start('participant')) == 0 then return end
  local id = log('@', '-', '-', event)
  local envelope = id .. ' ' .. room .. ' @ - ' .. event
  for node in string.gmatch(redis.call('HGET', room_key, 'nodes') or '', '(%S+):%d+') do
    redis.call('SPUBLISH', channel .. node, envelope)
  end
  trim(tonumber(string.match(id, '^%d+')), #event + 200)
end

-- Returns the role of a user who does not stand in for the host: the role assigned in this room,
-- else the one of the token, else the one that the kind of user has.
local function plain_role(uid)
  local found = redis.call('HMGET', room_key, 'g:' .. uid, 't:' .. uid)
  return found[1] or found[2] or (is_guest(uid) and 'guest' or 'participant')
end

-- Gives a seat a role and announces it. A seat that becomes moderator or host receives the join
-- requests that are open.
local function change_role(seat, role)
  local sees_lobby = RANK[seat.role] < RANK.moderator and RANK[role] >= RANK.moderator
  seat.role = role
  put_seat(seat)
  set_place(seat)
  local found = redis.call('HMGET', room_key, 'host', 'c', 'n')
  broadcast('-', fill(role_event, seat.peer, seat.uid, nil, role, found[1]))
  fact('role', found[2], seat.peer, seat.uid, seat.join, found[3], '{"role":"' .. role .. '"}')
  for _, peer in ipairs(sees_lobby and waiting_peers() or {}) do
    local other = get_seat(peer)
    local participant = redis.call('HGET', room_key, 'i:' .. peer)
    send_to_seat(seat, fill(request_event, peer, other.uid, participant))
  end
end

-- Makes a user host on all devices. The previous host gets their plain role back. The owner of the
-- call stays host: a host by token, or by the word of the backend, is a second one.
local function make_host(uid)
  check_order()
  redis.call('HSET', room_key, 'host', uid)
  local owner = cjson.decode(redis.call('HGET', room_key, 'm')).host
  local seats = seats_of(uid)
  for _, seat in ipairs(seats) do
    -- A moderator by the token is moderator again when the host is back, as one by assignment is.
    if seat.role == 'moderator' then redis.call('HSETNX', room_key, 'g:' .. uid, 'moderator') end
  end
  for _, peer in ipairs(redis.call('ZRANGEBYSCORE', order, '-inf', '(' .. place_start('moderator'))) do
    local seat = get_seat(peer)
    if seat.uid ~= uid then seats[#seats + 1] = seat end
  end
  sort_by_arrival(seats)
  for _, seat in ipairs(seats) do
    local role = (seat.uid == uid or seat.uid == owner) and 'host' or plain_role(seat.uid)
    if seat.state ~= 'waiting' and role ~= seat.role then change_role(seat, role) end
  end
end

-- Appoints the next host after the last seat of host `uid` ended: the longest present participant
-- with the highest role. A guest becomes host only if no other role is left.
local function appoint_next_host(uid)
  for _, seat in ipairs(seats_of(uid)) do
    if seat.state ~= 'waiting' then return end
  end
  check_order()
  local heir = redis.call('ZRANGEBYSCORE', order, '-inf', '(' .. place_start('waiting'), 'LIMIT', 0, 1)[1]
  if heir then make_host(get_seat(heir).uid) end
end
