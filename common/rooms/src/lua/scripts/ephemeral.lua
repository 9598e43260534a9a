-- ephemeral: sends an event to everyone else that no client needs later. It is in no log and has no
-- operation number and no offset.
--
-- KEYS    1-2 prelude
-- ARGV    1-4 prelude   5 sender   6 generation of the sender's seat   7 event
--         8 required settings and permissions
-- replies OK | OFF name | STALE
local from, gen, event, required = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local found = redis.call('HMGET', room_key, 's:' .. from, 'nodes', 'm', 'r:' .. user_of(from))
local state, current = string.match(found[1] or '', SEAT_HEAD)
if state ~= 'connected' or current ~= gen then return {'STALE'} end
local off = first_off(found[3], found[4], required)
if off then return {'OFF', off} end
publish_to_room(found[2], '0-0', from, event)
return {'OK'}
