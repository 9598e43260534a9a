-- The usual relay, before any function of the later parts exists: Redis creates a script's
-- functions again at each run, and straight code saves a tenth of the cost of a relay. It serves
-- the next operation of a connected seat to a peer with a socket, unless it trims the log; other
-- cases continue in relay.lua. It reads the seats' texts with patterns of its own, because
-- shared/seats.lua creates functions.
local from, gen, op, to, event, dedupe = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], KEYS[3]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to, 'kept')
local is_seated = string.find(found[1] or '', 'connected ' .. gen .. ' ', 1, true) == 1
local node, handle = string.match(found[3] or '', '^connected %S+ (%S+) (%S+)')
if is_seated and node and op - (found[2] or 0) == 1 and not dedupe and not ARGV[10] then
  redis.call('HSET', room_key, 'o:' .. from, op)
  local id = log(to, '-', from .. ':' .. gen .. ':' .. op, event, found[4])
  publish_to_session(node, handle, id, event)
  return {'OK', id}
end
