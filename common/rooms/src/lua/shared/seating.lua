-- seating: reading and writing seats, templates, facts and deadlines. Used by every script that
-- takes, moves or frees a seat. Needs prelude and seats.
--
-- KEYS    3 deadlines of the partition   4 outbox of the partition   5 order of the room's seats
-- ARGV    5 lifetime of an empty room, ms
--         6 four templates, one a line: user-left, join-request-cancelled, role-changed,
--           join-request
--         7 details of the `left` fact
local deadlines, outbox, order = KEYS[3], KEYS[4], KEYS[5]
local empty_after, left_details = ARGV[5], ARGV[7]
local left_event, cancelled_event, role_event, request_event =
  string.match(ARGV[6], '^(.-)\n(.-)\n(.-)\n(.*)$')

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns whether log id `a` is older than log id `b`.
local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  a_ms, a_seq, b_ms, b_seq = tonumber(a_ms), tonumber(a_seq), tonumber(b_ms), tonumber(b_seq)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local function get_seat(peer)
  local text = redis.call('HGET', room_key, 's:' .. peer)
  return text and parse_seat(peer, text) or nil
end

local function put_seat(seat)
  redis.call('HSET', room_key, 's:' .. seat.peer, format_seat(seat))
  local device = tonumber(string.match(seat.peer, '#(%d+)$'))
  if device and device > tonumber(redis.call('HGET', room_key, 'dev') or 0) then
    redis.call('HSET', room_key, 'dev', device)
  end
end

-- Returns whether a user has no account. Peer ids begin as user ids do.
local function is_guest(uid)
  return string.sub(uid, 1, 6) == 'guest-'
end

-- The member that names a seat in the deadlines and in a node's set of seats.
local function member_of(peer, gen)
  return room .. ' ' .. peer .. ' ' .. gen
end

local function next_gen()
  return string.format('%.0f', redis.call('HINCRBY', room_key, 'gen', 1))
end

-- Changes the number of connected seats on a node. A broadcast is published once to each node that
-- has any.
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

-- Completes a template in one pass, so that inserted text is never searched for placeholders.
local function fill(template, peer, uid, json, role, host)
  local values = {['1'] = '"' .. peer .. '"', ['2'] = '"' .. uid .. '"', ['3'] = json,
    ['5'] = role and '"' .. role .. '"', ['6'] = host and '"' .. host .. '"'}
  return (string.gsub(template, '"\\u000(%d)"', values))
end

-- Sends an event to everyone in the call except one peer, through the log. Returns the log id.
local function broadcast(except, event)
  local id = log('*', except, '-', event)
  publish_to_room(redis.call('HGET', room_key, 'nodes'), id, except, event)
  trim(tonumber(string.match(id, '^%d+')), #event + 200)
  return id
end

-- Sends an event to one seat, through the log because its socket may be away. Returns the log id.
local function send_to_seat(seat, event)
  local id = log(seat.peer, '-', '-', event)
  trim(tonumber(string.match(id, '^%d+')), #event + 200)
  if seat.node ~= '-' then publish_to_session(seat.node, seat.handle, id, event) end
  return id
end

-- Appends a durable fact to the outbox.
local function fact(kind, call, peer, uid, join, count, details)
  redis.call('XADD', outbox, '*', 'k', kind, 'c', call, 'r', room, 'p', peer, 'u', uid, 'j', join,
    'n', count, 'd', details)
end

-- Tells a session that it lost its seat: its node closes the transport and the client resumes.
local function drop_session(seat)
  if seat.node ~= '-' then publish_to_session(seat.node, seat.handle, '0-0', '!drop') end
end

local function schedule_empty_room(now)
  redis.call('ZADD', deadlines, now + empty_after, member_of('*', 0))
end
