-- bcast: sends an event from one peer to everyone else in the room.
--
-- KEYS    1-2 prelude   3 de-duplication (optional)
-- ARGV    1-4 prelude   5 sender   6 generation of the sender's seat   7 operation number   8 event
--         9 bytes since the seat's last trim (optional)
-- replies OK id [CUT] | DUP id note | FULL | STALE | GAP
local from, gen, op, event, dedupe = ARGV[5], ARGV[6], ARGV[7], ARGV[8], KEYS[3]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 'nodes', 'kept')
local reply = take_number(from, gen, op, found[1], found[2], dedupe, ARGV[9], 'FULL')
if reply then return reply end
local id = log('*', from, from .. ':' .. gen .. ':' .. op, event, found[4])
publish_to_room(found[3], id, from, event)
return finish(id, dedupe)
