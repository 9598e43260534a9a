-- hint: an event that is worth nothing later, to everybody else: in no log, under no number, without an offset.
--
-- KEYS    1-2 as the prelude
-- ARGV    1-4 as the prelude   5 sender   6 its gen   7 event   8 the settings that it rests on
-- replies OK | OFF setting | STALE
local from, gen, event = ARGV[5], ARGV[6], ARGV[7]
local found = redis.call('HMGET', room_key, 's:' .. from, 'nodes', 'm')
local state, current = string.match(found[1] or '', '^(%S+) (%S+)')
if state ~= 'connected' or current ~= gen then return {'STALE'} end
local off = first_off(found[3], ARGV[8])
if off then return {'OFF', off} end
tell_all(found[2], '0-0', from, event)
return {'OK'}
