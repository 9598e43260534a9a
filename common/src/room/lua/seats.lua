-- Shared by the scripts that seat, move and unseat.
--
-- KEYS[3] the partition's deadlines   KEYS[4] its outbox
-- ARGV[5] how long an empty room stays, ms   ARGV[6] user-left, a template   ARGV[7] its fact's details
local deadlines, outbox = KEYS[3], KEYS[4]
local empty_after, left_event, left_details = ARGV[5], ARGV[6], ARGV[7]

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function get_seat(peer)
  local text = redis.call('HGET', room_key, 's:' .. peer)
  if not text then return nil end
  local seat = {}
  seat.state, seat.gen, seat.node, seat.handle, seat.role, seat.join, seat.pid, seat.uid =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  return seat
end

local function put_seat(peer, seat)
  redis.call('HSET', room_key, 's:' .. peer, table.concat(
    {seat.state, seat.gen, seat.node, seat.handle, seat.role, seat.join, seat.pid, seat.uid}, ' '))
  local device = tonumber(string.match(peer, '#(%d+)$'))
  if device and device > tonumber(redis.call('HGET', room_key, 'dev') or 0) then redis.call('HSET', room_key, 'dev', device) end
end

local function next_gen()
  return string.format('%.0f', redis.call('HINCRBY', room_key, 'gen', 1))
end

-- Counts connected seats by node, so that a broadcast is published once to each node that has any.
local function count_at(node, change)
  local nodes, found = {}, false
  for name, count in string.gmatch(redis.call('HGET', room_key, 'nodes') or '', '(%S+):(%d+)') do
    if name == node then
      count = count + change
      found = true
    end
    if tonumber(count) > 0 then nodes[#nodes + 1] = name .. ':' .. count end
  end
  if not found and change > 0 then nodes[#nodes + 1] = node .. ':' .. change end
  redis.call('HSET', room_key, 'nodes', table.concat(nodes, ' '))
end

-- Replacements are functions: in a replacement text % would be special.
local function fill(template, peer, uid, participant)
  local text = string.gsub(template, '"\\u0001"', function() return '"' .. peer .. '"' end)
  text = string.gsub(text, '"\\u0002"', function() return '"' .. uid .. '"' end)
  text = string.gsub(text, '"\\u0003"', function() return participant end)
  return text
end

local function announce(except, event)
  local id = log('*', except, '-', event)
  tell_all(redis.call('HGET', room_key, 'nodes'), id, except, event)
  trim(id)
  return id
end

local function fact(kind, call, peer, uid, join, count, details)
  redis.call('XADD', outbox, '*', 'k', kind, 'c', call, 'r', room, 'p', peer, 'u', uid, 'j', join, 'n', count, 'd', details)
end

local function drop(seat)
  if seat.node ~= '-' then tell_one(seat.node, seat.handle, '0-0', '!drop') end
end

local function await_empty(now)
  redis.call('ZADD', deadlines, now + empty_after, room .. ' * 0')
end

local function unseat(peer, seat)
  local participant = redis.call('HGET', room_key, 'i:' .. peer) or 'null'
  if seat.state == 'connected' then count_at(seat.node, -1) end
  redis.call('HDEL', room_key, 's:' .. peer, 'o:' .. peer, 'i:' .. peer, 'v:' .. peer, 'a:' .. peer, 'p:' .. seat.pid)
  if seat.state == 'waiting' then return end
  redis.call('ZREM', deadlines, room .. ' ' .. peer .. ' ' .. seat.gen)
  local taken = redis.call('HINCRBY', room_key, 'n', -1)
  announce(peer, fill(left_event, peer, seat.uid, participant))
  fact('left', redis.call('HGET', room_key, 'c'), peer, seat.uid, seat.join, taken, left_details)
  if taken == 0 then await_empty(now_ms()) end
end

-- A connected seat without a socket: kept for the grace.
local function lose(peer, seat, grace, event)
  count_at(seat.node, -1)
  seat.state, seat.node, seat.handle, seat.gen = 'reconnecting', '-', '-', next_gen()
  put_seat(peer, seat)
  redis.call('ZADD', deadlines, now_ms() + grace, room .. ' ' .. peer .. ' ' .. seat.gen)
  announce(peer, fill(event, peer, seat.uid))
end
