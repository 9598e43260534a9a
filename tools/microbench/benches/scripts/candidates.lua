-- Prototype, used by no program: the candidates of one sender to one peer that wait together are
-- one log entry and one message. It serves the usual case alone, as relay_fast_path.lua does.
--
-- KEYS    the room's hash, the room's log
-- ARGV    1-4 as prelude.lua   5 sender   6 generation of the sender's seat
--         7 number of the first operation   8 number of the last one   9 receiver   10 events
-- replies OK id | UNUSUAL
local room_key, log_key, from, gen, to, events = KEYS[1], KEYS[2], ARGV[5], ARGV[6], ARGV[9], ARGV[10]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to, 'kept')
local is_seated = string.find(found[1] or '', 'connected ' .. gen .. ' ', 1, true) == 1
local node, handle = string.match(found[3] or '', '^connected %S+ (%S+) (%S+)')
local kept = found[4]
if not (is_seated and node) or ARGV[7] - (found[2] or 0) ~= 1 then return {'UNUSUAL'} end
redis.call('HSET', room_key, 'o:' .. from, ARGV[8])
local id = redis.call('XADD', log_key, '*', 't', to, 'x', '-',
  'k', from .. ':' .. gen .. ':' .. ARGV[7] .. '-' .. ARGV[8], 'd', events)
if not kept or id >= kept then
  local quarter = math.floor(ARGV[3] / 4)
  redis.call('PEXPIRE', log_key, ARGV[3] + quarter)
  redis.call('HSET', room_key, 'kept', string.format('%.0f', string.match(id, '^%d+') + quarter))
end
redis.call('SPUBLISH', ARGV[1] .. node, id .. ' ' .. ARGV[2] .. ' ' .. handle .. ' - ' .. events)
return {'OK', id}
