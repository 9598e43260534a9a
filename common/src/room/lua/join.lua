-- join: takes a seat.
--
-- KEYS    1-4 as seats   5 nodes   6 the node's seats
-- ARGV    1-7 as seats   8 user   9 pid   10 node   11 handle   12 role   13 the meta's version   14 pid to give up, or -
--         15 1 to wait in the lobby   16 participant, a template   17 user-joined, a template   18 media   19 the fact's details
-- replies OK peer gen id | WAITING peer gen id | FULL | LOCKED | BANNED | ENDED | ABSENT | CHANGED | FENCED
local uid, pid, node, handle, role, version, old_pid = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local waits = ARGV[15] == '1'
if redis.call('HEXISTS', KEYS[5], node) == 0 then return {'FENCED'} end
local found = redis.call('HMGET', room_key, 'st', 'mv', 'cap', 'lock', 'n', 'p:' .. pid, 'p:' .. old_pid, 'c')
if not found[1] then return {'ABSENT'} end
if found[1] == 'ended' then return {'ENDED'} end
if found[6] then
  -- A replay whose first reply was lost; a pid is never given to two sessions.
  local seat = get_seat(found[6])
  if seat.node == node and seat.handle == handle then
    return {seat.state == 'waiting' and 'WAITING' or 'OK', found[6], seat.gen, seat.join}
  end
  return {'CHANGED'}
end
if found[2] ~= version then return {'CHANGED'} end
if redis.call('HEXISTS', room_key, 'b:' .. uid) == 1 then return {'BANNED'} end
local old_peer, old = found[7], nil
if old_peer then
  old = get_seat(old_peer)
  if old.uid ~= uid then old = nil end
end
if found[4] == '1' and not old and role ~= 'host' and role ~= 'moderator' then return {'LOCKED'} end
local given_up = old and old.state ~= 'waiting' and 1 or 0
if not waits and found[5] - given_up >= tonumber(found[3]) then return {'FULL'} end
if old then
  drop(old)
  unseat(old_peer, old)
end

local peer, device = uid, 2
while redis.call('HEXISTS', room_key, 's:' .. peer) == 1 do
  peer = uid .. '#' .. device
  device = device + 1
end
local participant = fill(ARGV[16], peer, uid)
local seat = {state = 'connected', gen = next_gen(), node = node, handle = handle, role = role, pid = pid, uid = uid}
local reply = 'OK'
if waits then
  local last = redis.call('XREVRANGE', log_key, '+', '-', 'COUNT', 1)[1]
  seat.state, seat.join, reply = 'waiting', last and last[1] or string.format('%.0f-0', now_ms()), 'WAITING'
else
  seat.join = announce(peer, fill(ARGV[17], peer, uid, participant))
  count_at(node, 1)
  local taken = redis.call('HINCRBY', room_key, 'n', 1)
  if taken > tonumber(redis.call('HGET', room_key, 'peak')) then redis.call('HSET', room_key, 'peak', taken) end
  if taken == 1 then redis.call('ZREM', deadlines, room .. ' * 0') end
  fact('joined', found[8], peer, uid, seat.join, taken, ARGV[19])
end
put_seat(peer, seat)
redis.call('HSET', room_key, 'i:' .. peer, participant, 'v:' .. peer, ARGV[18], 'p:' .. pid, peer)
redis.call('SADD', KEYS[6], room .. ' ' .. peer .. ' ' .. seat.gen)
return {reply, peer, seat.gen, seat.join}
