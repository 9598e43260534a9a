-- reseat: puts back a seat that Redis lost, from the copy of the node that serves it.
--
-- KEYS    1-4 as seats   5 nodes   6 the node's seats
-- ARGV    1-7 as seats   8 user   9 pid   10 node   11 handle   12 role   13 peer   14 gen   15 last op   16 join id
--         17 participant   18 media   19 meta   20 its version   21 call   22 host   23 cap
-- replies OK | GONE | FENCED
local uid, pid, node, handle, role, peer, gen = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
if redis.call('HEXISTS', KEYS[5], node) == 0 then return {'FENCED'} end
local found = redis.call('HMGET', room_key, 'st', 'gen', 'born', 'o:' .. peer)
if found[1] == 'ended' then return {'GONE'} end
local seat = get_seat(peer)
if seat then
  if seat.gen ~= gen or seat.node ~= node then return {'GONE'} end
  -- The seat survived, its last operations perhaps not: go on after those that this node numbered.
  if tonumber(ARGV[15]) > tonumber(found[4] or 0) then redis.call('HSET', room_key, 'o:' .. peer, ARGV[15]) end
  return {'OK'}
end
if not found[1] then
  redis.call('HSET', room_key, 'm', ARGV[19], 'mv', ARGV[20], 'c', ARGV[21], 'st', 'open', 'cap', ARGV[23], 'lock', '0',
    'host', ARGV[22], 'gen', gen, 'born', gen, 'n', '0', 'peak', '0')
elseif tonumber(gen) <= tonumber(found[2]) and tonumber(gen) >= tonumber(found[3]) then
  -- This room gave that generation and has gone on since: the seat was given up, not lost.
  return {'GONE'}
elseif tonumber(gen) > tonumber(found[2]) then
  redis.call('HSET', room_key, 'gen', gen)
end
put_seat(peer, {state = 'connected', gen = gen, node = node, handle = handle, role = role, join = ARGV[16], pid = pid, uid = uid})
redis.call('HSET', room_key, 'o:' .. peer, ARGV[15], 'i:' .. peer, ARGV[17], 'v:' .. peer, ARGV[18], 'p:' .. pid, peer)
redis.call('SADD', KEYS[6], room .. ' ' .. peer .. ' ' .. gen)
count_at(node, 1)
local taken = redis.call('HINCRBY', room_key, 'n', 1)
if taken > tonumber(redis.call('HGET', room_key, 'peak')) then redis.call('HSET', room_key, 'peak', taken) end
redis.call('ZREM', deadlines, room .. ' * 0')
return {'OK'}
