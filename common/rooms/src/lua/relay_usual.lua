-- relay's usual case, before what the others need is made: Redis makes a script's functions anew each time it runs the script, so straight
-- code is a tenth less of what Redis does for a relay. From a seat's next operation to a peer with a socket; anything else goes on below.
local from, gen, op, to, event, dedupe = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], KEYS[3]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to, 'kept')
local sits = string.find(found[1] or '', 'connected ' .. gen .. ' ', 1, true) == 1
local node, handle = string.match(found[3] or '', '^connected %S+ (%S+) (%S+)')
if sits and node and op - (found[2] or 0) == 1 and not dedupe and (gen + op) % 32 > 0 then
  redis.call('HSET', room_key, 'o:' .. from, op)
  local id = log(to, '-', from .. ':' .. gen .. ':' .. op, event, found[4])
  tell_one(node, handle, id, event)
  return {'OK', id}
end
