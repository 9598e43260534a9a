-- set: changes a field of the room, and tells everybody else.
--
-- KEYS    1-2 as the prelude   3 de-duplication (optional)
-- ARGV    1-4 as the prelude   5 sender   6 its gen   7 op   8 event   9 field   10 value
-- replies OK id | DUP id | STALE | GAP
local from, gen, op, event = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 'nodes')
local reply = take(from, gen, op, found[1], found[2])
if reply then return reply end
redis.call('HSET', room_key, ARGV[9], ARGV[10])
local id = log('*', from, from .. ':' .. gen .. ':' .. op, event)
tell_all(found[3], id, from, event)
return done(gen, op, id)
