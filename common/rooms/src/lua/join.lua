-- join: takes a seat.
--
-- KEYS    1-4 as seats   5 nodes   6 the node's seats
-- ARGV    1-7 as seats   8 user   9 pid   10 node   11 handle   12 role   13 the meta's version   14 pid to give up, or -
--         15 1 to wait in the lobby   16 participant, a template   17 user-joined, a template   18 media   19 the fact's details
--         20 the role that the room was found to give it, or -   21 since when it is known by the tokens it shows, ms
--         22 a guest's address, hashed, or -   23 places in the lobby   24 participant in the lobby, a template
-- replies OK peer gen id | WAITING peer gen id | FULL | LOCKED | BANNED | ENDED | ABSENT | CHANGED | FENCED
local uid, pid, node, handle, role, version, old_pid = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local waits, address = ARGV[15] == '1', ARGV[22]
if redis.call('HEXISTS', KEYS[5], node) == 0 then return {'FENCED'} end
local found = redis.call('HMGET', room_key, 'st', 'mv', 'cap', 'lock', 'n', 'p:' .. pid, 'p:' .. old_pid, 'c', 'host', 'w')
if not found[1] then return {'ABSENT'} end
if found[1] == 'ended' then return {'ENDED'} end
if found[6] then
  -- A replay whose first reply was lost; a pid is never given to two sessions.
  local seat = get_seat(found[6])
  if seat.node == node and seat.handle == handle then
    if seat.state == 'waiting' then return {'WAITING', found[6], seat.gen, seat.from} end
    return {'OK', found[6], seat.gen, seat.join}
  end
  return {'CHANGED'}
end
local given = redis.call('HMGET', room_key, 'g:' .. uid, 'k:' .. uid, 'b:' .. uid, 'b:@' .. address)
if found[2] ~= version or (found[9] == uid and 'host' or given[1] or '-') ~= ARGV[20] then return {'CHANGED'} end
if given[3] or given[4] or (given[2] and tonumber(ARGV[21]) <= tonumber(given[2])) then return {'BANNED'} end
local old_peer, old = found[7], nil
if old_peer then
  old = get_seat(old_peer)
  if old.uid ~= uid then old = nil end
end
-- Who is in already need not be let in again.
local was_in = old and old.state ~= 'waiting'
waits = waits and not was_in
if found[4] == '1' and not was_in and RANK[role] < RANK.moderator then return {'LOCKED'} end
if not waits and found[5] - (was_in and 1 or 0) >= tonumber(found[3]) then return {'FULL'} end
if waits and (found[10] or 0) - (old and 1 or 0) >= tonumber(ARGV[23]) then return {'FULL'} end
if old then
  drop(old)
  unseat(old, true)
end
-- The host by right is back: whoever stood in for it is what it was before.
if role == 'host' and found[9] ~= uid then make_host(uid) end

local peer, device = uid, 2
while redis.call('HEXISTS', room_key, 's:' .. peer) == 1 do
  peer = uid .. '#' .. device
  device = device + 1
end
local participant = fill(waits and ARGV[24] or ARGV[16], peer, uid)
local seat = {peer = peer, state = 'connected', gen = next_gen(), node = node, handle = handle, role = role, pid = pid, uid = uid,
  address = address}
local reply = 'OK'
redis.call('HSET', room_key, 'i:' .. peer, participant, 'v:' .. peer, ARGV[18], 'p:' .. pid, peer)
if waits then
  seat.state, reply = 'waiting', 'WAITING'
  redis.call('HSET', room_key, 'w:' .. peer, ARGV[17], 'f:' .. peer, ARGV[19])
  redis.call('HINCRBY', room_key, 'w', 1)
  local last = redis.call('XREVRANGE', log_key, '+', '-', 'COUNT', 1)[1]
  seat.join = last and last[1] or string.format('%.0f-0', now_ms())
  tell_moderators(fill(request_event, peer, uid, participant))
else
  seat.join = announce(peer, fill(ARGV[17], peer, uid, participant))
  count_at(node, 1)
  fact('joined', found[8], peer, uid, seat.join, occupy(), ARGV[19])
end
seat.from = seat.join
put_seat(seat)
redis.call('SADD', KEYS[6], room .. ' ' .. peer .. ' ' .. seat.gen)
return {reply, peer, seat.gen, seat.from}
