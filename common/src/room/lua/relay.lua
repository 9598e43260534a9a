-- relay: an event from one peer to another.
--
-- KEYS    1-2 as the prelude   3 de-duplication (optional)
-- ARGV    1-4 as the prelude   5 sender   6 its gen   7 op   8 receiver   9 event
-- replies OK id | DUP id | NOPEER | STALE | GAP
local from, gen, op, to, event = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to)
local reply = take(from, gen, op, found[1], found[2])
if reply then return reply end
local state, node, handle = string.match(found[3] or '', '^(%S+) %S+ (%S+) (%S+)')
if not state or state == 'waiting' then return {'NOPEER'} end
local id = log(to, '-', from .. ':' .. gen .. ':' .. op, event)
if state == 'connected' then tell_one(node, handle, id, event) end
return done(gen, op, id)
