-- attach: a session resumes a seat, which this node serves from now on.
--
-- KEYS    1-2 prelude   3-5 seating   6 nodes   7 seats of the node
-- ARGV    1-4 prelude   5-7 seating   8 user   9 pid   10 node   11 handle   12 offset
--         13 time of the first attempt, ms, or -   14 connected, a template
--         15 hashes of the address, or -
-- replies OK peer gen last role state metadata participant media join from address participants
--         hand permissions | FRESH | MISSED | BUSY time | FENCED
local uid, pid, node, handle = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local offset, first_try, connected_event, address = ARGV[12], ARGV[13], ARGV[14], ARGV[15]
if redis.call('HEXISTS', KEYS[6], node) == 0 then return {'FENCED'} end
local peer = redis.call('HGET', room_key, 'p:' .. pid)
local seat = peer and get_seat(peer)
if not seat or seat.uid ~= uid then return {'FRESH'} end

local function last_id()
  local last = redis.call('XREVRANGE', log_key, '+', '-', 'COUNT', 1)[1]
  return last and not before(last[1], offset) and last[1] or offset
end
local found = redis.call('HMGET', room_key, 'floor', 'a:' .. peer, 'm', 'i:' .. peer, 'v:' .. peer, 'n',
  'h:' .. peer, 'r:' .. uid)
local floor, attached_ms, meta, participant, media = found[1], found[2], found[3], found[4], found[5]
local participants, hand, permissions = found[6], found[7] or '-', found[8] or '-'

local function resumed()
  return {'OK', peer, seat.gen, last_id(), seat.role, seat.state, meta, participant, media, seat.join,
    seat.from, seat.address, participants, hand, permissions}
end
-- The repetition of an attach whose reply was lost.
if seat.node == node and seat.handle == handle then return resumed() end

local now = now_ms()
local offset_ms = tonumber(string.match(offset, '^%d+'))
if before(offset, seat.from) or offset_ms > now or offset_ms < now - window then return {'FRESH'} end
if floor and before(offset, floor) then return {'MISSED'} end
-- Of two sockets with one pid, the first keeps the seat while it is open. An attempt that got BUSY
-- counts with the time of its first attempt. Otherwise it would take the seat from the first socket
-- by waiting.
local began = first_try == '-' and now or tonumber(first_try)
if seat.node ~= '-' and attached_ms and began - attached_ms < 1000 then
  return {'BUSY', string.format('%.0f', began)}
end

local was = seat.state
if seat.node == '-' then
  redis.call('ZREM', deadlines, member_of(peer, seat.gen))
else
  -- A previous socket may still be open. It is closed for good; otherwise the two sockets would
  -- take the seat from each other forever.
  publish_to_session(seat.node, seat.handle, '0-0', '!replaced')
  -- A session whose attach is repeated after a lost reply knows only its later generation.
  if seat.node == node then redis.call('SREM', KEYS[7], member_of(peer, seat.gen)) end
end
if was == 'connected' then count_at(seat.node, -1) end
seat.gen, seat.node, seat.handle = next_gen(), node, handle
-- A client that changed its network is banned where it is now.
if address ~= '-' then seat.address = address end
if was ~= 'waiting' then seat.state = 'connected' end
put_seat(seat)
redis.call('HSET', room_key, 'o:' .. peer, 0, 'a:' .. peer, now)
redis.call('SADD', KEYS[7], member_of(peer, seat.gen))
if was == 'reconnecting' then broadcast(peer, fill(connected_event, peer, uid)) end
if was ~= 'waiting' then count_at(node, 1) end
return resumed()
