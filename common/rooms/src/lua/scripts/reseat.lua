-- reseat: puts back a seat that Redis lost, from the copy of the node that serves it or served it
-- until a moment ago.
--
-- KEYS    1-2 prelude   3-5 seating   6 nodes   7 seats of the node
-- ARGV    1-4 prelude   5-7 seating   8 user   9 pid   10 node
--         11 handle, or - for a seat without a socket   12 role   13 peer   14 generation
--         15 last operation   16 join id   17 participant, JSON   18 media, JSON
--         19 metadata, JSON   20 its version   21 call   22 host   23 seats   24 locked, 0 or 1
--         25 state: connected or waiting   26 from   27 hashes of the address, or -
--         28 user-joined, a template   29 details of the `joined` fact   30 grace period, ms
--         31 time at which the hand was raised, or -
--         32 permissions given in this room, JSON, or -
-- replies OK | GONE | FENCED
local uid, pid, node, handle, role = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local peer, gen, last_op, join = ARGV[13], ARGV[14], ARGV[15], ARGV[16]
local participant, media, meta, version = ARGV[17], ARGV[18], ARGV[19], ARGV[20]
local call, host, cap, lock = ARGV[21], ARGV[22], ARGV[23], ARGV[24]
local state, from, address = ARGV[25], ARGV[26], ARGV[27]
local joined_template, joined_details, grace = ARGV[28], ARGV[29], ARGV[30]
local away = handle == '-'
if away and state == 'connected' then state = 'reconnecting' end
if redis.call('HEXISTS', KEYS[6], node) == 0 then return {'FENCED'} end
local found = redis.call('HMGET', room_key, 'st', 'gen', 'born', 'o:' .. peer, 'x:' .. peer)
local room_state, last_gen, born, current_op, given_up = found[1], found[2], found[3], found[4], found[5]
if room_state == 'ended' then return {'GONE'} end
local seat = get_seat(peer)
if seat and tonumber(seat.gen) < tonumber(gen) then
  -- Another node put back an older copy of this seat first, perhaps that of the session from which
  -- this one took it over.
  if seat.pid ~= pid then redis.call('HDEL', room_key, 'p:' .. seat.pid) end
  if seat.state == 'connected' then count_at(seat.node, -1) end
  redis.call('HINCRBY', room_key, seat.state == 'waiting' and 'w' or 'n', -1)
  redis.call('ZREM', deadlines, member_of(peer, seat.gen))
elseif seat then
  if seat.gen ~= gen or seat.node ~= node then return {'GONE'} end
  -- The seat survived, but its last operations may be lost: continue after the numbers that this
  -- node has used.
  if tonumber(last_op) > tonumber(current_op or 0) then
    redis.call('HSET', room_key, 'o:' .. peer, last_op)
  end
  return {'OK'}
end
if not room_state then
  -- The generations of the new room begin above all that were given before. Many joins at the same
  -- time may have moved them ahead of the clock.
  local now = now_ms()
  local new_born = string.format('%.0f', math.max(now, tonumber(gen) + 1000))
  redis.call('HSET', room_key, 'm', meta, 'mv', version, 'c', call, 'st', 'open', 'cap', cap,
    'lock', lock, 'host', host, 'gen', new_born, 'born', new_born, 'n', '0', 'peak', '0')
  schedule_empty_room(now)
elseif tonumber(gen) > tonumber(last_gen) then
  redis.call('HSET', room_key, 'gen', gen)
elseif not seat
    and (tonumber(gen) >= tonumber(born) or tonumber(given_up or 0) >= tonumber(gen)) then
  -- This room gave that generation, or put it back before, and does not have it any more: the seat
  -- was given up and not lost.
  return {'GONE'}
end
seat = {peer = peer, state = state, gen = gen, node = away and '-' or node, handle = handle,
  role = role, join = join, pid = pid, uid = uid, from = from, address = address}
put_seat(seat)
set_place(seat)
redis.call('HSET', room_key, 'o:' .. peer, last_op, 'i:' .. peer, participant, 'v:' .. peer, media,
  'p:' .. pid, peer)
if ARGV[31] == '-' then
  redis.call('HDEL', room_key, 'h:' .. peer)
else
  redis.call('HSET', room_key, 'h:' .. peer, ARGV[31])
end
if role == 'host' then redis.call('HSET', room_key, 'host', uid) end
if ARGV[32] ~= '-' then redis.call('HSETNX', room_key, 'r:' .. uid, ARGV[32]) end
if role == 'moderator' then redis.call('HSET', room_key, 'g:' .. uid, role) end
if away then
  redis.call('ZADD', deadlines, now_ms() + grace, member_of(peer, gen))
else
  redis.call('SADD', KEYS[7], member_of(peer, gen))
end
if state == 'connected' then count_at(node, 1) end
if state == 'waiting' then
  redis.call('HINCRBY', room_key, 'w', 1)
  redis.call('HSET', room_key, 'w:' .. peer, joined_template, 'f:' .. peer, joined_details)
else
  add_participant(seat)
end
return {'OK'}
