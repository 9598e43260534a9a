-- relay: sends an event from one peer to another. relay_fast_path.lua runs first and defines
-- `from`, `gen`, `op`, `to`, `event`, `dedupe` and `found`.
--
-- KEYS    1-2 prelude   3 de-duplication (optional)
-- ARGV    1-4 prelude   5 sender   6 generation of the sender's seat   7 operation number
--         8 receiver   9 event
--         10 bytes since the seat's last trim (optional)
-- replies OK id [CUT] | DUP id note | NOPEER | STALE | GAP
local reply = take_number(from, gen, op, found[1], found[2], dedupe, ARGV[10])
if reply then return reply end
local state, peer
state, node, handle, peer = resolve_receiver(to, found[3])
if not state then return {'NOPEER'} end
event = readdress(event, to, peer)
local id = log(peer, '-', from .. ':' .. gen .. ':' .. op, event, found[4])
if state == 'connected' then publish_to_session(node, handle, id, event) end
return finish(id, dedupe)
