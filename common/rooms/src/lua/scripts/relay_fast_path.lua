-- The usual relays, before any function of the later parts exists: Redis creates a script's
-- functions again at each run. It serves, one after the other, the next operation of a connected
-- seat to a peer with a socket; the first other case, and the relays behind it, continue in
-- relay.lua. It reads the seats' texts with patterns of its own, because shared/seats.lua creates
-- functions.
--
-- Relays that wait at the same moment share a call, because a call has a cost of its own. An error
-- of one relay is its own reply, so that the others keep theirs.
local count = math.floor(#KEYS / 2)
local dedupe, bytes = KEYS[2 * count + 1], count == 1 and ARGV[10] or nil
-- Replies so far, and the positions of the next relay's channel and of its sender.
local replies, done, place, first = {}, 0, 1, 5
while done < count do
  local room_key, from, gen, op = KEYS[2 * done + 1], ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local to, event = ARGV[first + 3], ARGV[first + 4]
  local found = redis.pcall('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to, 'kept')
  local is_seated = string.find(found[1] or '', 'connected ' .. gen .. ' ', 1, true) == 1
  local node, handle = string.match(found[3] or '', '^connected %S+ (%S+) (%S+)')
  local kept = found[4]
  if not (is_seated and node) or op - (found[2] or 0) ~= 1 or dedupe or bytes then break end
  redis.call('HSET', room_key, 'o:' .. from, op)
  local id = redis.pcall('XADD', KEYS[2 * done + 2], '*', 't', to, 'x', '-',
    'k', from .. ':' .. gen .. ':' .. op, 'd', event)
  if type(id) == 'table' then
    replies[done + 1] = id
  else
    if not kept or id >= kept then
      local quarter = math.floor(ARGV[3] / 4)
      redis.call('PEXPIRE', KEYS[2 * done + 2], ARGV[3] + quarter)
      redis.call('HSET', room_key, 'kept', string.format('%.0f', string.match(id, '^%d+') + quarter))
    end
    redis.call('SPUBLISH', ARGV[place] .. node,
      id .. ' ' .. ARGV[place + 1] .. ' ' .. handle .. ' - ' .. event)
    replies[done + 1] = {'OK', id}
  end
  done, place, first = done + 1, first + 5, first + 7
end
if done == count then return count == 1 and replies[1] or replies end
