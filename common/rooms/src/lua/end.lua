-- end: ends a call, for its host in a seat or for whoever was authorized elsewhere.
--
-- KEYS    1-4 as seats   5 the history of its chat
-- ARGV    1-7 as seats   8 call, or - for the seat's   9 call-ended, the event   10 the fact's details   11 tombstone, ms
--         12 peer, or -   13 gen
-- replies OK | ENDED | DENIED | STALE
local call, peer, gen = ARGV[8], ARGV[12], ARGV[13]
local found = redis.call('HMGET', room_key, 'st', 'c', 'host')
if peer ~= '-' then
  if found[1] == 'ended' then return {'ENDED'} end
  local seat = get_seat(peer)
  if not seat or seat.state ~= 'connected' or seat.gen ~= gen then return {'STALE'} end
  if seat.uid ~= found[3] then return {'DENIED'} end
  call = found[2]
end
if found[1] and found[2] ~= call then
  -- The room belongs to another call by now: only the record is to know.
  fact('ended', call, '-', '-', '-', 0, ARGV[10])
  return {'OK'}
end
if found[1] == 'ended' then return {'ENDED'} end
end_call(call, ARGV[9], ARGV[10], ARGV[11])
return {'OK'}
