-- prelude: the room's log and the channels of the nodes. Used by every script that touches a room.
--
-- KEYS    1 the room's hash   2 the room's log
-- ARGV    1 prefix of the nodes' channels   2 room   3 recovery window, ms   4 bounds of the log,
--         about: entries and bytes
--
-- docs/ROOM_STATE.md lists the fields of the room's hash. Events are texts `<kind> <event>`: the
-- kind is the one-letter code of event_kind.rs, and goes into the log and the envelopes as it is.
--
-- Participants in the lobby receive direct messages and no broadcasts, from the subscription and
-- from the log alike. Generations begin at the clock's milliseconds, so that a room that is created
-- again never repeats a generation that an old session still holds.
local room_key, log_key = KEYS[1], KEYS[2]
local channel, room, window, log_bounds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Appends an entry to the log and returns its id. The log lives for the window after its last
-- entry. Its expiry is set for a quarter of the window longer, so that frequent operations need not
-- set it each time. `kept` is the hash's field of that name: false if the field is missing, nil if
-- the caller did not read it.
local function log(to, except, mark, event, kept)
  local id = redis.call('XADD', log_key, '*', 't', to, 'x', except, 'k', mark, 'd', event)
  -- Compares as text, which is the numeric order: milliseconds keep 13 digits until the year 2286.
  if not kept or id >= kept then
    local quarter = math.floor(window / 4)
    redis.call('PEXPIRE', log_key, window + quarter)
    if kept ~= nil then
      redis.call('HSET', room_key, 'kept', string.format('%.0f', string.match(id, '^%d+') + quarter))
    end
  end
  return id
end

-- Publishes to one session.
local function publish_to_session(node, handle, id, event)
  redis.call('SPUBLISH', channel .. node, id .. ' ' .. room .. ' ' .. handle .. ' - ' .. event)
end

-- Publishes to every node in `nodes` ("n1:1 n2:2"), for all sessions of the room except one peer.
local function publish_to_room(nodes, id, except, event)
  local envelope = id .. ' ' .. room .. ' * ' .. except .. ' ' .. event
  for node in string.gmatch(nodes or '', '(%S+):%d+') do
    redis.call('SPUBLISH', channel .. node, envelope)
  end
end

-- Counts `bytes` that were logged since the last call, and drops entries that are older than the
-- window or beyond the bounds. Only the bounds can drop an entry that a client could still ask for,
-- so only then `floor` records the first entry that is left. `ms` is the present time. Returns
-- whether the bounds dropped an entry.
--
-- `bytes` grows for the life of the room. `marks` has positions with the count at that time, one
-- for each sixteenth of the bound, so that the bytes after a mark are known without a measurement.
local function trim(ms, bytes)
  redis.call('XTRIM', log_key, 'MINID', '~', ms - window)
  local length, bytes_max = string.match(log_bounds, '^(%d+) (%d+)$')
  local dropped = redis.call('XTRIM', log_key, 'MAXLEN', '~', length)
  local total, step = redis.call('HINCRBY', room_key, 'bytes', bytes), bytes_max / 16
  if math.floor(total / step) > math.floor((total - bytes) / step) then
    local kept, cut = {}, nil
    for id, count in string.gmatch(redis.call('HGET', room_key, 'marks') or '', '(%S+):(%d+)') do
      if total - count > tonumber(bytes_max) then cut = id else kept[#kept + 1] = id .. ':' .. count end
    end
    kept[#kept + 1] = string.format('%.0f-0:%.0f', ms, total)
    redis.call('HSET', room_key, 'marks', table.concat(kept, ' '))
    if cut then dropped = dropped + redis.call('XTRIM', log_key, 'MINID', cut) end
  end
  if dropped == 0 then return false end
  local first = redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1]
  redis.call('HSET', room_key, 'floor', first and first[1] or string.format('%.0f-0', ms))
  return true
end
