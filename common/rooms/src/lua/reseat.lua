-- reseat: puts back a seat that Redis lost, from the copy of the node that serves it, or did until a moment ago.
--
-- KEYS    1-4 as seats   5 nodes   6 the node's seats
-- ARGV    1-7 as seats   8 user   9 pid   10 node   11 handle, or - when its socket was lost a moment ago   12 role   13 peer   14 gen   15 last op   16 join id
--         17 participant   18 media   19 meta   20 its version   21 call   22 host   23 cap   24 lock
--         25 state: connected or waiting   26 from   27 address   28 user-joined, a template   29 the joined fact's details
--         30 grace, ms
-- replies OK | GONE | FENCED
local uid, pid, node, handle, role, peer, gen = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local away, state = handle == '-', ARGV[25]
if away and state == 'connected' then state = 'reconnecting' end
if redis.call('HEXISTS', KEYS[5], node) == 0 then return {'FENCED'} end
local found = redis.call('HMGET', room_key, 'st', 'gen', 'born', 'o:' .. peer, 'x:' .. peer)
if found[1] == 'ended' then return {'GONE'} end
local seat = get_seat(peer)
if seat and tonumber(seat.gen) < tonumber(gen) then
  -- An older copy of the same came first, from where it was before.
  if seat.pid ~= pid then return {'GONE'} end
  if seat.state == 'connected' then count_at(seat.node, -1) end
  redis.call('HINCRBY', room_key, seat.state == 'waiting' and 'w' or 'n', -1)
  redis.call('ZREM', deadlines, room .. ' ' .. peer .. ' ' .. seat.gen)
elseif seat then
  if seat.gen ~= gen or seat.node ~= node then return {'GONE'} end
  -- The seat survived, its last operations perhaps not: go on after those that this node numbered.
  if tonumber(ARGV[15]) > tonumber(found[4] or 0) then redis.call('HSET', room_key, 'o:' .. peer, ARGV[15]) end
  return {'OK'}
end
if not found[1] then
  -- Its numbers begin above all that were given before, those included that a quick succession of joins put ahead of the clock.
  local now = now_ms()
  local born = string.format('%.0f', math.max(now, tonumber(gen) + 1000))
  redis.call('HSET', room_key, 'm', ARGV[19], 'mv', ARGV[20], 'c', ARGV[21], 'st', 'open', 'cap', ARGV[23], 'lock', ARGV[24],
    'host', ARGV[22], 'gen', born, 'born', born, 'n', '0', 'peak', '0')
  await_empty(now)
elseif tonumber(gen) > tonumber(found[2]) then
  redis.call('HSET', room_key, 'gen', gen)
elseif not seat and (tonumber(gen) >= tonumber(found[3]) or tonumber(found[5] or 0) >= tonumber(gen)) then
  -- This room gave that generation, or put it back before, and has gone on since: the seat was given up, not lost.
  return {'GONE'}
end
put_seat({peer = peer, state = state, gen = gen, node = away and '-' or node, handle = handle, role = role,
  join = ARGV[16], pid = pid, uid = uid, from = ARGV[26], address = ARGV[27]})
redis.call('HSET', room_key, 'o:' .. peer, ARGV[15], 'i:' .. peer, ARGV[17], 'v:' .. peer, ARGV[18], 'p:' .. pid, peer)
if role == 'host' then redis.call('HSET', room_key, 'host', uid) end
if role == 'moderator' then redis.call('HSET', room_key, 'g:' .. uid, role) end
if away then
  redis.call('ZADD', deadlines, now_ms() + ARGV[30], room .. ' ' .. peer .. ' ' .. gen)
else
  redis.call('SADD', KEYS[6], room .. ' ' .. peer .. ' ' .. gen)
end
if state == 'connected' then count_at(node, 1) end
if state == 'waiting' then
  redis.call('HINCRBY', room_key, 'w', 1)
  redis.call('HSET', room_key, 'w:' .. peer, ARGV[28], 'f:' .. peer, ARGV[29])
else
  occupy()
end
return {'OK'}
