-- server_event: sends an event of an app's backend to everyone in the call, or to one participant.
--
-- KEYS    1-2 prelude   3 de-duplication
-- ARGV    1-4 prelude   5 receiver, or *   6 event   7 digest of receiver, name and data
--         8 time in the event, ms since the Unix epoch
-- replies OK
--         KNOWN time   this event was sent under its id before, with this time
--         REUSED       another event was sent under the id
--         NOPEER | ABSENT
local to, event, digest, dedupe = ARGV[5], ARGV[6], ARGV[7], KEYS[3]
local found = redis.call('HMGET', room_key, 'st', 'nodes', 's:' .. to, 'kept')
local nodes, seat, kept = found[2], found[3], found[4]
if found[1] ~= 'open' then return {'ABSENT'} end
-- The lane repeats a script whose reply was lost, and a backend a request.
local known = redis.call('GET', dedupe)
if known then
  -- Older versions stored the log id alone.
  local sent, sent_ms = string.match(known, '^%S+ (%S+) (%d+)$')
  if sent and sent ~= digest then return {'REUSED'} end
  return {'KNOWN', sent_ms or ARGV[8]}
end
local id
if to == '*' then
  id = log('*', '-', '-', event, kept)
  publish_to_room(nodes, id, '-', event)
else
  local state, _, node, handle = string.match(seat or '', SEAT_HEAD)
  if not state then return {'NOPEER'} end
  id = log(to, '-', '-', event, kept)
  if node ~= '-' then publish_to_session(node, handle, id, event) end
end
trim(tonumber(string.match(id, '^%d+')), #event + 200)
redis.call('SET', dedupe, id .. ' ' .. digest .. ' ' .. ARGV[8], 'PX', window)
return {'OK'}
