-- attach: a session resumes a seat, on this node from now on.
--
-- KEYS    1-4 as seats   5 nodes   6 the node's seats
-- ARGV    1-7 as seats   8 user   9 pid   10 node   11 handle   12 offset   13 ms of the first try, or -   14 connected, a template
-- replies OK peer gen last role state meta participant media join from address | FRESH | MISSED | BUSY now | FENCED
local uid, pid, node, handle, offset, first_try = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
if redis.call('HEXISTS', KEYS[5], node) == 0 then return {'FENCED'} end
local peer = redis.call('HGET', room_key, 'p:' .. pid)
local seat = peer and get_seat(peer)
if not seat or seat.uid ~= uid then return {'FRESH'} end

local function last_id()
  local last = redis.call('XREVRANGE', log_key, '+', '-', 'COUNT', 1)[1]
  return last and not before(last[1], offset) and last[1] or offset
end
local room_now = redis.call('HMGET', room_key, 'floor', 'a:' .. peer, 'm', 'i:' .. peer, 'v:' .. peer)

local function resumed()
  return {'OK', peer, seat.gen, last_id(), seat.role, seat.state, room_now[3], room_now[4], room_now[5], seat.join, seat.from,
    seat.address}
end
-- A replay whose first reply was lost.
if seat.node == node and seat.handle == handle then return resumed() end

local now = now_ms()
local offset_ms = tonumber(string.match(offset, '^%d+'))
if before(offset, seat.from) or offset_ms > now or offset_ms < now - window then return {'FRESH'} end
if room_now[1] and before(offset, room_now[1]) then return {'MISSED'} end
-- Two sockets with one pid: the first keeps it while it is open. A try that was told BUSY is judged by when it began, or it would
-- throw the first one out by waiting.
local began = first_try == '-' and now or tonumber(first_try)
if seat.node ~= '-' and room_now[2] and began - room_now[2] < 1000 then
  return {'BUSY', string.format('%.0f', began)}
end

local was = seat.state
if seat.node == '-' then
  redis.call('ZREM', deadlines, room .. ' ' .. peer .. ' ' .. seat.gen)
else
  -- Somebody else may still be there with the same private id: told to stay away, or the two would take the seat from each other for ever.
  tell_one(seat.node, seat.handle, '0-0', '!replaced')
end
if was == 'connected' then count_at(seat.node, -1) end
seat.gen, seat.node, seat.handle = next_gen(), node, handle
if was ~= 'waiting' then seat.state = 'connected' end
put_seat(seat)
redis.call('HSET', room_key, 'o:' .. peer, 0, 'a:' .. peer, now)
redis.call('SADD', KEYS[6], room .. ' ' .. peer .. ' ' .. seat.gen)
if was == 'reconnecting' then announce(peer, fill(ARGV[14], peer, uid)) end
if was ~= 'waiting' then count_at(node, 1) end
return resumed()
