-- end: ends a call, for its host in a seat or for a caller who was authorized elsewhere.
--
-- KEYS    1-2 prelude   3-5 seating   6 chat history   7 index of the chat history
-- ARGV    1-4 prelude   5-7 seating   8 call, or - for the call of the seat
--         9 call-ended, the event   10 details of the `ended` fact
--         11 lifetime of the tombstone, ms   12 peer, or -   13 generation, or -
-- replies OK | ENDED | DENIED | STANDIN | STALE
local call, event, details, tombstone = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local peer, gen = ARGV[12], ARGV[13]
local found = redis.call('HMGET', room_key, 'st', 'c', 'm')
local state, current_call, meta = found[1], found[2], found[3]
if peer ~= '-' then
  if state == 'ended' then return {'ENDED'} end
  local seat = get_seat(peer)
  if not seat or seat.state ~= 'connected' or seat.gen ~= gen then return {'STALE'} end
  if seat.role ~= 'host' then return {'DENIED'} end
  -- The end of a call cannot be undone, so a stand-in for the absent host must not end it.
  local roles = redis.call('HMGET', room_key, 'g:' .. seat.uid, 't:' .. seat.uid)
  local is_host_by_app = (roles[1] or roles[2]) == 'host'
  if seat.uid ~= cjson.decode(meta).host and not is_host_by_app then return {'STANDIN'} end
  call = current_call
end
if state and current_call ~= call then
  -- The room belongs to another call by now, so only the record of this one is closed.
  fact('ended', call, '-', '-', '-', 0, details)
  return {'OK'}
end
if state == 'ended' then return {'ENDED'} end
end_call(call, event, details, tombstone)
return {'OK'}
