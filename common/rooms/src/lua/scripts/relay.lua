-- relay: sends events from peers to peers, one after the other. relay_fast_path.lua runs first; it
-- defines `count`, `dedupe`, `bytes`, `replies`, `done`, `place` and `first`, and has served the
-- first `done` entries.
--
-- Consecutive candidates of one seat for one peer are one log entry and one envelope: their
-- operations are `<first>-<last>`, their events `<kind> <event> <event> ...` with 0x1e between two
-- events (event_batch.rs). The fast path reserves an id for each event. Here, where the case is not
-- the usual one, each of them has an entry of its own.
--
-- KEYS    for each entry: the room's hash, the room's log
--         last: de-duplication (optional, of a single relay)
-- ARGV    1-4 prelude, of the first entry   5 sender   6 generation of the sender's seat
--         7 operation number, or numbers   8 receiver   9 event, or events
--         10 bytes since the seat's last trim (optional, of a single relay)
--         for each further entry: prefix of the nodes' channels, room, and as 5 to 9
-- replies of a single relay: OK id [CUT] | DUP id note | NOPEER | STALE | GAP
--         of several relays: a list of these, or of errors
local function relay(op, event)
  local from, gen, to = ARGV[first], ARGV[first + 1], ARGV[first + 3]
  local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 's:' .. to, 'kept')
  local reply = take_number(from, gen, op, found[1], found[2], dedupe, bytes, 'NOPEER')
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
  local op, event = ARGV[first + 2], ARGV[first + 4]
  local number, kind = op, ''
  if not tonumber(op) then
    number = string.match(op, '^%d+')
    kind, event = string.match(event, '^(%S+ )(.*)$')
  end
  for text in string.gmatch(event, '[^\30]+') do
    local is_done, reply = pcall(relay, number, kind .. text)
    if not is_done and type(reply) ~= 'table' then reply = {err = reply} end
    replies[#replies + 1] = reply
    number = string.format('%.0f', number + 1)
  end
  done, place, first = done + 1, first + 5, first + 7
end
return #replies == 1 and replies[1] or replies
