-- relay: an event from one peer to another.
--
-- KEYS    1-2 as the prelude   3 de-duplication (optional)
-- ARGV    1-4 as the prelude   5 sender   6 its gen   7 op   8 receiver   9 event
-- replies OK id | DUP id note | NOPEER | STALE | GAP
local reply = take(from, gen, op, found[1], found[2], dedupe)
if reply then return reply end
local state, peer
state, node, handle, peer = reach(to, found[3])
if not state then return {'NOPEER'} end
event = addressed(event, to, peer)
local id = log(peer, '-', from .. ':' .. gen .. ':' .. op, event, found[4])
if state == 'connected' then tell_one(node, handle, id, event) end
return done(gen, op, id, dedupe)
