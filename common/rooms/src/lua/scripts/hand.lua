-- hand: raises or lowers the sender's hand and tells everyone, the sender too.
--
-- A hand that is up keeps its time when it is raised again, so that a repetition loses no place in
-- the order of the hands.
--
-- KEYS    1-2 prelude   3 de-duplication (optional)
-- ARGV    1-4 prelude   5 sender   6 generation of the sender's seat   7 operation number
--         8 event, a template   9 time in RFC 3339, or - to lower the hand
--         10 bytes since the seat's last trim (optional)
-- replies OK id [CUT] | DUP id note | FULL | STALE | GAP
local from, gen, op, event, raised_at = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local dedupe = KEYS[3]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 'nodes', 'h:' .. from, 'kept')
local reply = take_number(from, gen, op, found[1], found[2], dedupe, ARGV[10], 'FULL')
if reply then return reply end
if raised_at == '-' then
  redis.call('HDEL', room_key, 'h:' .. from)
else
  raised_at = found[4] or raised_at
  redis.call('HSET', room_key, 'h:' .. from, raised_at)
  event = string.gsub(event, '"\\u0007"', '"' .. raised_at .. '"', 1)
end
local id = log('*', '-', from .. ':' .. gen .. ':' .. op, event, found[5])
publish_to_room(found[3], id, '-', event)
return finish(id, dedupe)
