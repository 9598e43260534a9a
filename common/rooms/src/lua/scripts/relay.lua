-- relay: sends events from peers to peers, one after the other. relay_fast_path.lua runs first; it
-- defines `count`, `dedupe`, `bytes`, `replies`, `done`, `place` and `first`, and has served the
-- first `done` relays.
--
-- KEYS    for each relay: the room's hash, the room's log
--         last: de-duplication (optional, of a single relay)
-- ARGV    1-4 prelude, of the first relay   5 sender   6 generation of the sender's seat
--         7 operation number   8 receiver   9 event
--         10 bytes since the seat's last trim (optional, of a single relay)
--         for each further relay: prefix of the nodes' channels, room, and as 5 to 9
-- replies of a single relay: OK id [CUT] | DUP id note | NOPEER | STALE | GAP
--         of several relays: a list of these, or of errors
local function relay()
  local from, gen, op = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local to, event = ARGV[first + 3], ARGV[first + 4]
  local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to, 'kept')
  local reply = take_number(from, gen, op, found[1], found[2], dedupe, bytes)
  if reply then return reply end
  local state, node, handle, peer = resolve_receiver(to, found[3])
  if not state then return {'NOPEER'} end
  event = readdress(event, to, peer)
  local id = log(peer, '-', from .. ':' .. gen .. ':' .. op, event, found[4])
  if state == 'connected' then publish_to_session(node, handle, id, event) end
  return finish(id, dedupe)
end

while done < count do
  room_key, log_key = KEYS[2 * done + 1], KEYS[2 * done + 2]
  channel, room = ARGV[place], ARGV[place + 1]
  local is_done, reply = pcall(relay)
  if not is_done and type(reply) ~= 'table' then reply = {err = reply} end
  replies[done + 1] = reply
  done, place, first = done + 1, first + 5, first + 7
end
return count == 1 and replies[1] or replies
