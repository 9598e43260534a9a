-- join: takes a seat in the call or in the lobby.
--
-- KEYS    1-2 prelude   3-5 seating   6 nodes   7 seats of the node
--         8 newest grants of the room's users
-- ARGV    1-4 prelude   5-7 seating   8 user id   9 hashed private id (pid)   10 node   11 handle
--         12 role   13 version of the metadata that admission saw
--         14 pid of an earlier session of this client, or -
--         15 1 if admission sends the participant to the lobby
--         16 participant, a template   17 event user-joined, a template   18 media, JSON
--         19 details of the `joined` fact
--         20 role that admission saw assigned in this room, or -
--         21 issue time of the oldest token shown, ms since the Unix epoch
--         22 hashes of the address, or -   23 maximum number of places in the lobby
--         24 participant in the lobby, a template   25 maximum number of seats of one user
--         26 connected, a template
--         27 time of the first attempt, ms since the Unix epoch, as a PROBING reply gave it, or -
--         28 time that a socket has to show that its client is alive, ms; 0 if every socket counts
--            as alive
--         29 1 if the script only answers, and gives no seat
--         30 profile-changed, a template
--         31 1 if the backend of an app says that the user hosts
--         32 permissions that admission saw given in this room, JSON, or -
--         33 grant that admission decided on: `issued_ms role permissions`, or - without one
--         34 lifetime of a grant, ms   35 events of give_permissions, or - without a grant
-- replies OK peer gen id         a new seat in the call; id is the log id of room:user-joined
--         BACK peer gen id join  the user's own seat, which had lost its socket; the log continues
--                                after id; join is the log id of its room:user-joined
--         WAITING peer gen id    a place in the lobby; the log continues after id
--         MAY                    a seat, or a place in the lobby, would be given
--         PROBING time           it is not known yet whether an earlier socket of the user is
--                                alive: ask again, with the time of the first attempt
--         FULL                   no seat, or no place in the lobby, is free; or the guests of the
--                                address have their share of the lobby
--         DEVICES                the user has too many seats
--         LOCKED | BANNED | ENDED
--         REMOVED                the tokens are older than the removal of the user
--         ABSENT                 the room is not open
--         CHANGED                admission decided on old data, or the pid has another session
--         FENCED                 the node is not registered
local uid, pid, node, handle, role = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local version, old_pid, waits = ARGV[13], ARGV[14], ARGV[15] == '1'
local participant_template, joined_template = ARGV[16], ARGV[17]
local media, details, seen_role, issued_ms = ARGV[18], ARGV[19], ARGV[20], ARGV[21]
local address, lobby_places, waiting_template = ARGV[22], ARGV[23], ARGV[24]
local devices_max, back_event = tonumber(ARGV[25]), ARGV[26]
local first_try, probe_ms, only_asks = tonumber(ARGV[27]), tonumber(ARGV[28]), ARGV[29] == '1'
local profile_event, grant = ARGV[30], ARGV[33]
if not only_asks then
  if redis.call('HEXISTS', KEYS[6], node) == 0 then return {'FENCED'} end
end
local found = redis.call('HMGET', room_key, 'st', 'mv', 'cap', 'lock', 'n', 'p:' .. pid,
  'p:' .. old_pid, 'c', 'host', 'w')
local state, current_version, cap, lock, taken = found[1], found[2], found[3], found[4], found[5]
local own_peer, old_peer, call, host, waiting = found[6], found[7], found[8], found[9], found[10]
if not state then return {'ABSENT'} end
if state == 'ended' then return {'ENDED'} end
if own_peer then
  -- The pid has a seat already. If node and handle are the same, this is the repetition of a join
  -- whose reply was lost. Otherwise it is a second session with the same pid, which is refused.
  local seat = get_seat(own_peer)
  if seat.node == node and seat.handle == handle then
    if seat.state == 'waiting' then return {'WAITING', own_peer, seat.gen, seat.from} end
    if before(seat.join, seat.from) then return {'BACK', own_peer, seat.gen, seat.from, seat.join} end
    return {'OK', own_peer, seat.gen, seat.join}
  end
  return {'CHANGED'}
end
local access = redis.call('HMGET', room_key, 'g:' .. uid, 'k:' .. uid, 'b:' .. uid, 'r:' .. uid)
local assigned, removed_ms, banned, permissions = access[1], access[2], access[3], access[4]
-- An account is known by its id. Guests take another identity when they like, so a ban keeps out
-- every guest from its address, except who has a seat already. While keys are rotated, an address
-- has a hash by each key.
if is_guest(uid) and #seats_of(uid) == 0 then
  for hash in string.gmatch(address, '[^,]+') do
    banned = banned or redis.call('HGET', room_key, 'b:@' .. hash)
  end
end
if current_version ~= version or (host == uid and 'host' or assigned or '-') ~= seen_role
    or (permissions or '-') ~= ARGV[32] then
  return {'CHANGED'}
end
-- A user of an app may have several tokens. The newest one that came here says what the user may
-- do, so that an older one brings back nothing that it took. Admission knew an older one.
local newest = grant ~= '-' and redis.call('HGET', KEYS[8], uid)
local function issued(text) return tonumber(string.match(text, '^%d+')) end
if newest and issued(newest) > issued(grant) then return {'CHANGED'} end
if banned then return {'BANNED'} end
if removed_ms and tonumber(issued_ms) <= tonumber(removed_ms) then return {'REMOVED'} end

-- Returns the one of these seats that has been without a socket for the longest time, in the call
-- before the lobby.
local function longest_away(seats)
  for _, state in ipairs({'reconnecting', 'waiting'}) do
    local found = nil
    for _, seat in ipairs(seats) do
      local is_away = seat.node == '-' and seat.state == state
      if is_away and (not found or tonumber(seat.gen) < tonumber(found.gen)) then found = seat end
    end
    if found then return found end
  end
end

-- Returns the user's own seat that this session takes over, if there is one. A client that kept its
-- private id names the seat. A client that kept nothing, because its app was killed, gets the one
-- that is without a socket. A seat with a socket belongs to another device, unless the socket is
-- silent: its client is gone, and the node has not noticed. So each socket is asked once whether
-- its client is alive. Until the time for the answers is over, this returns the time of the first
-- attempt as second value.
local function own_seat()
  local now = now_ms()
  local began = first_try or now
  local seats, silent, named = seats_of(uid), {}, nil
  for _, seat in ipairs(seats) do
    local alive_ms = tonumber(redis.call('HGET', room_key, 'a:' .. seat.peer) or 0)
    -- A session that has taken the seat since lives, although nobody has asked it.
    local taken_ms = seat.state ~= 'waiting' and tonumber(string.match(seat.from, '^%d+')) or 0
    local is_silent = seat.node ~= '-' and probe_ms > 0 and alive_ms < began and taken_ms <= began
    if is_silent then silent[#silent + 1] = seat end
    if seat.peer == old_peer and (is_silent or seat.node == '-') then named = seat end
  end
  local found = named or longest_away(seats) or silent[1]
  if not found or found.node == '-' or now - began >= probe_ms then return found end
  if not first_try then
    for _, seat in ipairs(silent) do publish_to_session(seat.node, seat.handle, '0-0', '!probe') end
  end
  return nil, began
end

-- Gives a seat of this user to this session.
local function take_over(seat, participant)
  local peer = seat.peer
  local known = redis.call('HGET', room_key, 'i:' .. peer)
  local joined_at = string.match(known, '"joinedAt":"([^"]*)"')
  -- Replacing text is safe: inside a JSON string each quote follows a backslash, so that no name
  -- can look like these fields. The first match is the field, because `user`, whose metadata may
  -- have fields of the same name, comes last.
  local joined_field = '"joinedAt":"' .. (joined_at or '') .. '"'
  participant = string.gsub(participant, '"joinedAt":"[^"]*"', joined_field, 1)
  participant = string.gsub(participant, '"role":"' .. role .. '"', '"role":"' .. seat.role .. '"', 1)
  if not same_profile(known, participant) then
    announce_profile(seat, profile_event, profile_of(participant))
  end
  redis.call('ZREM', deadlines, member_of(peer, seat.gen))
  if seat.state == 'connected' then count_at(seat.node, -1) end
  if seat.node == node then redis.call('SREM', KEYS[7], member_of(peer, seat.gen)) end
  redis.call('HDEL', room_key, 'p:' .. seat.pid, 'a:' .. peer, 'c:' .. peer)
  redis.call('HSET', room_key, 'i:' .. peer, participant, 'p:' .. pid, peer, 'o:' .. peer, 0)
  seat.gen, seat.node, seat.handle, seat.pid, seat.address = next_gen(), node, handle, pid, address
  if seat.state == 'waiting' then
    local last = redis.call('XREVRANGE', log_key, '+', '-', 'COUNT', 1)[1]
    seat.from = last and last[1] or seat.from
  else
    seat.state = 'connected'
    seat.from = broadcast(peer, fill(back_event, peer, uid))
    count_at(node, 1)
  end
  put_seat(seat)
  redis.call('SADD', KEYS[7], member_of(peer, seat.gen))
end

-- Returns whether the user owns the call and is in it on no device. Such a user passes a full room:
-- otherwise anyone who takes every seat keeps the host out of their own call.
local function is_absent_owner()
  if cjson.decode(redis.call('HGET', room_key, 'm')).host ~= uid then return false end
  for _, seat in ipairs(seats_of(uid)) do
    if seat.state ~= 'waiting' then return false end
  end
  return true
end

-- Returns whether the guests of this address have their share of the lobby: a quarter of its
-- places, at least 10. Otherwise one address keeps everyone else out of the lobby.
local function has_lobby_share()
  local share, held = math.max(10, math.floor(lobby_places / 4)), 0
  if not is_guest(uid) or address == '-' or tonumber(waiting or 0) < share then return false end
  for _, peer in ipairs(waiting_peers()) do
    local seat = is_guest(peer) and get_seat(peer)
    if seat and seat.address == address then held = held + 1 end
  end
  return held >= share
end

local old, began = own_seat()
if began then return {'PROBING', string.format('%.0f', began)} end
-- A user who is already in the call need not be admitted again.
local was_in = old and old.state ~= 'waiting'
local is_full = tonumber(taken) >= tonumber(cap) and not is_absent_owner()
local is_locked = lock == '1' and RANK[role] < RANK.moderator
-- A user who was in the lobby waits on if they cannot come in.
local to_lobby = not was_in and (waits or (old and (is_full or is_locked)))
local keeps_seat = old and (was_in or to_lobby)
if not keeps_seat then
  if is_locked then return {'LOCKED'} end
  if not to_lobby and is_full then return {'FULL'} end
  if to_lobby and (tonumber(waiting or 0) >= tonumber(lobby_places) or has_lobby_share()) then
    return {'FULL'}
  end
end
-- The first free device number. The place in the lobby that is given up frees its own.
local peer, device = uid, 1
while not keeps_seat and redis.call('HEXISTS', room_key, 's:' .. peer) == 1
    and not (old and old.peer == peer) do
  device = device + 1
  if device > devices_max then return {'DEVICES'} end
  peer = uid .. '#' .. device
end
if only_asks then return {'MAY'} end
if grant ~= '-' and grant ~= newest then
  redis.call('HSET', KEYS[8], uid, grant)
  redis.call('PEXPIRE', KEYS[8], ARGV[34])
  local given, before = string.match(grant, '%S+$'), newest and string.match(newest, '%S+$')
  -- The user's other devices follow. Permissions that were given in the room are theirs already.
  if not permissions and given ~= before then give_permissions(uid, given, ARGV[35]) end
end
if old then drop_session(old) end
-- The backend of an app says who hosts: several may, and each is no stand-in.
if ARGV[31] == '1' then
  redis.call('HSET', room_key, 't:' .. uid, 'host')
else
  redis.call('HDEL', room_key, 't:' .. uid)
end
-- A host is back, so the participant who stood in as host gets their own role back. One who waits
-- for a free seat becomes host with it.
if role == 'host' and host ~= uid and not to_lobby then make_host(uid) end
if keeps_seat then
  -- A reload, or an app that starts again, is no leave: the seat keeps its peer id, its role, its
  -- media and its place in the order of succession.
  local seat = get_seat(old.peer)
  take_over(seat, fill(to_lobby and waiting_template or participant_template, seat.peer, uid))
  if to_lobby then
    redis.call('HSET', room_key, 'w:' .. seat.peer, joined_template, 'f:' .. seat.peer, details)
    return {'WAITING', seat.peer, seat.gen, seat.from}
  end
  return {'BACK', seat.peer, seat.gen, seat.from, seat.join}
end
if old then free_seat(old, true) end

local participant = fill(to_lobby and waiting_template or participant_template, peer, uid)
local seat = {peer = peer, state = 'connected', gen = next_gen(), node = node, handle = handle,
  role = role, pid = pid, uid = uid, address = address}
local reply = 'OK'
redis.call('HSET', room_key, 'i:' .. peer, participant, 'v:' .. peer, media, 'p:' .. pid, peer)
if to_lobby then
  seat.state, reply = 'waiting', 'WAITING'
  redis.call('HSET', room_key, 'w:' .. peer, joined_template, 'f:' .. peer, details)
  redis.call('HINCRBY', room_key, 'w', 1)
  local last = redis.call('XREVRANGE', log_key, '+', '-', 'COUNT', 1)[1]
  seat.join = last and last[1] or string.format('%.0f-0', now_ms())
else
  seat.join = broadcast(peer, fill(joined_template, peer, uid, participant))
  count_at(node, 1)
  record_join(call, seat, details)
end
seat.from = seat.join
put_seat(seat)
set_place(seat)
if to_lobby then send_to_moderators(fill(request_event, peer, uid, participant)) end
redis.call('SADD', KEYS[7], member_of(peer, seat.gen))
return {reply, peer, seat.gen, seat.from}
