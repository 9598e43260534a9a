-- join: takes a seat in the call or in the lobby.
--
-- KEYS    1-2 prelude   3-5 seating   6 nodes   7 seats of the node
-- ARGV    1-4 prelude   5-7 seating   8 user id   9 hashed private id (pid)   10 node   11 handle
--         12 role   13 version of the metadata that admission saw
--         14 pid of the seat to replace, or -
--         15 1 if admission sends the participant to the lobby
--         16 participant, a template   17 event user-joined, a template   18 media, JSON
--         19 details of the `joined` fact
--         20 role that admission saw assigned in this room, or -
--         21 issue time of the oldest token shown, ms since the Unix epoch
--         22 hashed address, or -   23 maximum number of places in the lobby
--         24 participant in the lobby, a template   25 maximum number of seats of one user
-- replies OK peer gen id       a seat in the call; id is the log id of room:user-joined
--         WAITING peer gen id  a place in the lobby; the log continues after id
--         FULL                 no seat, or no place in the lobby, is free
--         DEVICES              the user has too many seats
--         LOCKED | BANNED | ENDED
--         REMOVED              the tokens are older than the removal of the user
--         ABSENT               the room is not open
--         CHANGED              admission decided on old data, or the pid has another session
--         FENCED               the node is not registered
local uid, pid, node, handle, role = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local version, old_pid, waits = ARGV[13], ARGV[14], ARGV[15] == '1'
local participant_template, joined_template = ARGV[16], ARGV[17]
local media, details, seen_role, issued_ms = ARGV[18], ARGV[19], ARGV[20], ARGV[21]
local address, lobby_places, waiting_template = ARGV[22], ARGV[23], ARGV[24]
local devices_max = tonumber(ARGV[25])
if redis.call('HEXISTS', KEYS[6], node) == 0 then return {'FENCED'} end
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
    return {'OK', own_peer, seat.gen, seat.join}
  end
  return {'CHANGED'}
end
local access = redis.call('HMGET', room_key, 'g:' .. uid, 'k:' .. uid, 'b:' .. uid, 'b:@' .. address)
local assigned, removed_ms, banned = access[1], access[2], access[3]
-- An account is known by its id. Guests take another identity when they like, so a ban keeps out
-- every guest from its address.
if is_guest(uid) then banned = banned or access[4] end
if current_version ~= version or (host == uid and 'host' or assigned or '-') ~= seen_role then
  return {'CHANGED'}
end
if banned then return {'BANNED'} end
if removed_ms and tonumber(issued_ms) <= tonumber(removed_ms) then return {'REMOVED'} end
local old = nil
if old_peer then
  old = get_seat(old_peer)
  if old.uid ~= uid then old = nil end
end
-- A user who is already in the call need not be admitted again.
local was_in = old and old.state ~= 'waiting'
local to_lobby = waits and not was_in
if lock == '1' and not was_in and RANK[role] < RANK.moderator then return {'LOCKED'} end
if not to_lobby and taken - (was_in and 1 or 0) >= tonumber(cap) then return {'FULL'} end
if to_lobby and (waiting or 0) - (old and 1 or 0) >= tonumber(lobby_places) then return {'FULL'} end
-- The first free device number. The seat to replace frees its own.
local peer, device = uid, 1
while redis.call('HEXISTS', room_key, 's:' .. peer) == 1 and not (old and old.peer == peer) do
  device = device + 1
  if device > devices_max then return {'DEVICES'} end
  peer = uid .. '#' .. device
end
if old then
  drop_session(old)
  free_seat(old, true)
end
-- The owner of the call is back, so the participant who stood in as host gets their own role back.
if role == 'host' and host ~= uid then make_host(uid) end

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
