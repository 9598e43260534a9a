-- prelude: the room's log and the channels of the nodes. Used by every script that touches a room.
--
-- KEYS    1 the room's hash   2 the room's log
-- ARGV    1 prefix of the nodes' channels   2 room   3 recovery window, ms   4 maximum length of
--         the log, about
--
-- docs/ROOM_STATE.md lists the fields of the room's hash. Events are texts `<kind> <event>`: the
-- kind is the one-letter code of event_kind.rs, and goes into the log and the envelopes as it is.
--
-- Participants in the lobby receive direct messages and no broadcasts, from the subscription and
-- from the log alike. Generations begin at the clock's milliseconds, so that a room that is created
-- anew never repeats a generation that an old session still holds.
local room_key, log_key = KEYS[1], KEYS[2]
local channel, room, window, log_length = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

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

-- Drops entries that are older than the window or beyond the maximum length. Only the length can
-- drop an entry that a client could still ask for, so only then `floor` records the first entry
-- that is left.
local function trim(id)
  redis.call('XTRIM', log_key, 'MINID', '~', tonumber(string.match(id, '^%d+')) - window)
  if redis.call('XTRIM', log_key, 'MAXLEN', '~', log_length) > 0 then
    redis.call('HSET', room_key, 'floor', redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1][1])
  end
end
