-- Shared by every script about a room: its log, and telling nodes of it.
--
-- KEYS[1] the room's hash   KEYS[2] its log
-- ARGV[1] a node's channel without the node   ARGV[2] the room   ARGV[3] the log's window, ms   ARGV[4] its length, about
--
-- Fields of the hash: m meta, mv its version, c call, st open | ended, cap seats, lock 0 | 1, host user, gen the last generation,
-- born the first one, n seats taken, peak the most ever, nodes "n1:2 n2:1" (connected seats by node), floor (the log is whole from it),
-- kept (until this ms the log's life need not be set again), dev the highest number of a device, said the chat messages, w how many are
-- in the lobby;
--   s:<peer> "state gen node handle role join pid uid from address"; node and handle are - while it has no socket; join is the log id of
--            its joined event; from, where its client's view of the log begins (a lobby comes before the join); address, a guest's, hashed
--   o:<peer> last operation   i:<peer> participant JSON as of the join   a:<peer> ms of the last attach
--   v:<peer> media JSON, with `held`: the kinds that a moderator has switched off
--   c:<peer> last command and its answer   w:<peer>, f:<peer> of the lobby: user-joined and the joined fact, for when it is let in
--   x:<peer> the generation of one that was put back after a loss of data, and has gone since
--   p:<pid hash> peer   g:<uid> the role it was given   k:<uid> ms since when its tokens are no good   b:<uid>, b:@<address> banned
--
-- Whoever is in the lobby gets nothing that is for all, here or from the log: only what names it.
-- Generations begin at the clock's ms, so that a room made anew never repeats one that an old session still holds.
local room_key, log_key = KEYS[1], KEYS[2]
local channel, room, window, log_length = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Appends to the log, which outlives its last entry by the window at least. Its life is set for a quarter of that longer, so that the
-- frequent operations need not set it each time: `kept` is what the hash has under that name, false without; nil, who cannot tell.
local function log(to, except, mark, event, kept)
  local id = redis.call('XADD', log_key, '*', 't', to, 'x', except, 'k', mark, 'd', event)
  -- Milliseconds have as many digits for the next 260 years: as text they compare as the numbers do.
  if not kept or id >= kept then
    local quarter = math.floor(window / 4)
    redis.call('PEXPIRE', log_key, window + quarter)
    if kept ~= nil then
      redis.call('HSET', room_key, 'kept', string.format('%.0f', string.match(id, '^%d+') + quarter))
    end
  end
  return id
end

local function tell_one(node, handle, id, event)
  redis.call('SPUBLISH', channel .. node, id .. ' ' .. room .. ' ' .. handle .. ' - ' .. event)
end

local function tell_all(nodes, id, except, event)
  local envelope = id .. ' ' .. room .. ' * ' .. except .. ' ' .. event
  for node in string.gmatch(nodes or '', '(%S+):%d+') do
    redis.call('SPUBLISH', channel .. node, envelope)
  end
end

-- Drops what is older than the window or beyond the length. Only the length can drop what a client could still ask for: the
-- floor tells.
local function trim(id)
  redis.call('XTRIM', log_key, 'MINID', '~', tonumber(string.match(id, '^%d+')) - window)
  if redis.call('XTRIM', log_key, 'MAXLEN', '~', log_length) > 0 then
    redis.call('HSET', room_key, 'floor', redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1][1])
  end
end
