-- Shared by the scripts that seat, move and unseat: seats, places, facts.
--
-- KEYS[3] the partition's deadlines   KEYS[4] its outbox
-- ARGV[5] how long an empty room stays, ms
-- ARGV[6] templates, one a line: user-left, join-request-cancelled, role-changed, join-request   ARGV[7] the left fact's details
local deadlines, outbox = KEYS[3], KEYS[4]
local empty_after, left_details = ARGV[5], ARGV[7]
local left_event, cancelled_event, role_event, request_event = string.match(ARGV[6], '^(.-)\n(.-)\n(.-)\n(.*)$')

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether a log id is before another.
local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  a_ms, a_seq, b_ms, b_seq = tonumber(a_ms), tonumber(a_seq), tonumber(b_ms), tonumber(b_seq)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local function parse_seat(peer, text)
  local seat = {peer = peer}
  seat.state, seat.gen, seat.node, seat.handle, seat.role, seat.join, seat.pid, seat.uid, seat.from, seat.address =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  return seat
end

local function get_seat(peer)
  local text = redis.call('HGET', room_key, 's:' .. peer)
  return text and parse_seat(peer, text) or nil
end

local function put_seat(seat)
  redis.call('HSET', room_key, 's:' .. seat.peer, table.concat({seat.state, seat.gen, seat.node, seat.handle, seat.role,
    seat.join, seat.pid, seat.uid, seat.from, seat.address}, ' '))
  local device = tonumber(string.match(seat.peer, '#(%d+)$'))
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

-- Completes a template, in one pass: what is put in is not looked at again.
local function fill(template, peer, uid, json, role, host)
  local values = {['1'] = '"' .. peer .. '"', ['2'] = '"' .. uid .. '"', ['3'] = json,
    ['5'] = role and '"' .. role .. '"', ['6'] = host and '"' .. host .. '"'}
  return (string.gsub(template, '"\\u000(%d)"', values))
end

local function announce(except, event)
  local id = log('*', except, '-', event)
  tell_all(redis.call('HGET', room_key, 'nodes'), id, except, event)
  trim(id)
  return id
end

-- Tells one seat, by way of the log: its client may be away.
local function tell_seat(seat, event)
  local id = log(seat.peer, '-', '-', event)
  if seat.node ~= '-' then tell_one(seat.node, seat.handle, id, event) end
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

-- One more takes part; how many do.
local function occupy()
  local taken = redis.call('HINCRBY', room_key, 'n', 1)
  if taken > tonumber(redis.call('HGET', room_key, 'peak')) then redis.call('HSET', room_key, 'peak', taken) end
  if taken == 1 then redis.call('ZREM', deadlines, room .. ' * 0') end
  return taken
end
