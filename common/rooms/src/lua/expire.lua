-- expire: one deadline that may be due: a seat past its grace, a room empty for too long, or a place for somebody in the lobby who is
-- there only because every place was taken when the waiting room was switched off.
--
-- KEYS    1-4 as seats   5 the history of its chat
-- ARGV    1-7 as seats   8 peer, * for the empty room, or + for its lobby   9 gen   10 call-ended, the event   11 the fact's details
--         12 tombstone, ms   13 now, RFC 3339   14 reconnecting, a template
-- replies OK | STALE
local peer, gen = ARGV[8], ARGV[9]
local member = room .. ' ' .. peer .. ' ' .. gen
local due = redis.call('ZSCORE', deadlines, member)
if not due or tonumber(due) > now_ms() then return {'STALE'} end
redis.call('ZREM', deadlines, member)
if peer == '+' then
  local open, meta = unpack(redis.call('HMGET', room_key, 'st', 'm'))
  if open ~= 'open' then return {'STALE'} end
  local settings = cjson.decode(meta).settings or {}
  local admitted = let_in_all(function(seat)
    return not settings.waitingRoomEnabled or (settings.autoAdmitGuests and string.sub(seat.uid, 1, 6) == 'guest-')
  end, ARGV[13], ARGV[14])
  return {#admitted > 0 and 'OK' or 'STALE'}
end
if peer ~= '*' then
  local seat = get_seat(peer)
  if not seat or seat.node ~= '-' or seat.gen ~= gen then return {'STALE'} end
  unseat(seat)
  return {'OK'}
end
local found = redis.call('HMGET', room_key, 'st', 'n', 'peak', 'c', 'w')
if found[1] ~= 'open' or found[2] ~= '0' then return {'STALE'} end
if found[3] == '0' and tonumber(found[5] or 0) > 0 then
  -- Somebody waits for the host to come.
  await_empty(now_ms())
elseif found[3] == '0' then
  -- Opened, and nobody came: the call may still be held.
  redis.call('DEL', room_key, log_key)
else
  end_call(found[4], ARGV[10], ARGV[11], ARGV[12])
end
return {'OK'}
