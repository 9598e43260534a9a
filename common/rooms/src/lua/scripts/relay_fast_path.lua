-- The usual relays, before any function of the later parts exists: Redis creates a script's
-- functions again at each run. It serves, one after the other, the next operation of a connected
-- seat to a peer with a socket; the first other case, and the relays behind it, continue in
-- relay.lua. It reads the seats' texts with patterns of its own, because shared/seats.lua creates
-- functions.
--
-- Relays that wait at the same moment share a call, because a call has a cost of its own. An error
-- of one log entry is the reply to its own relays, so that the others keep theirs.
local count = math.floor(#KEYS / 2)
local dedupe, bytes = KEYS[2 * count + 1], count == 1 and ARGV[10] or nil
-- Replies so far, entries so far, and the positions of the next entry's channel and sender.
local replies, done, place, first = {}, 0, 1, 5
while done < count do
  local room_key, log_key = KEYS[2 * done + 1], KEYS[2 * done + 2]
  local from, gen, op, to, event = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3], ARGV[first + 4]
  local number, last = op, op
  if not tonumber(op) then number, last = string.match(op, '^(%d+)-(%d+)$') end
  local found = redis.pcall('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to, 'kept')
  local is_seated = string.find(found[1] or '', 'connected ' .. gen .. ' ', 1, true) == 1
  local node, handle = string.match(found[3] or '', '^connected %S+ (%S+) (%S+)')
  local kept = found[4]
  if not (is_seated and node) or number - (found[2] or 0) ~= 1 or dedupe or bytes then break end
  redis.call('HSET', room_key, 'o:' .. from, last)
  local id = redis.pcall('XADD', log_key, '*', 't', to, 'x', '-', 'k', from .. ':' .. gen .. ':' .. op, 'd', event)
  local is_logged = type(id) ~= 'table'
  if number ~= last then
    local ms, seq = string.match(is_logged and id or '', '^(%d+)-(%d+)$')
    -- No later entry gets the ids of the events behind the first one.
    local reserved = is_logged and
      redis.pcall('XSETID', log_key, ms .. '-' .. string.format('%.0f', seq + last - number))
    if type(reserved) == 'table' and reserved.err then
      -- This Redis does not let us reserve them. Each event gets an entry of its own.
      redis.call('XDEL', log_key, id)
      redis.call('HSET', room_key, 'o:' .. from, found[2] or 0)
      break
    end
    for index = 0, last - number do
      replies[#replies + 1] = is_logged and {'OK', ms .. '-' .. string.format('%.0f', seq + index)} or id
    end
  else
    replies[#replies + 1] = is_logged and {'OK', id} or id
  end
  if is_logged then
    if not kept or id >= kept then
      local quarter = math.floor(ARGV[3] / 4)
      redis.call('PEXPIRE', log_key, ARGV[3] + quarter)
      redis.call('HSET', room_key, 'kept', string.format('%.0f', string.match(id, '^%d+') + quarter))
    end
    redis.call('SPUBLISH', ARGV[place] .. node,
      id .. ' ' .. ARGV[place + 1] .. ' ' .. handle .. ' - ' .. event)
  end
  done, place, first = done + 1, first + 5, first + 7
end
if done == count then return #replies == 1 and replies[1] or replies end
