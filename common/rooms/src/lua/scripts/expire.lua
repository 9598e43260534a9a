-- expire: handles one deadline that may be due: a seat after its grace period, a room that is empty
-- for too long, or the lobby of a room in which a place became free.
--
-- KEYS    1-2 prelude   3-5 seating   6 chat history   7 index of the chat history
-- ARGV    1-4 prelude   5-7 seating   8 peer, * for the empty room, or + for the lobby
--         9 generation   10 call-ended, the event   11 details of the `ended` fact
--         12 lifetime of the tombstone, ms   13 now, RFC 3339   14 reconnecting, a template
-- replies OK | STALE
local peer, gen, ended_event, ended_details = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local tombstone, now, reconnecting_event = ARGV[12], ARGV[13], ARGV[14]
local member = member_of(peer, gen)
local due = redis.call('ZSCORE', deadlines, member)
if not due or tonumber(due) > now_ms() then return {'STALE'} end
redis.call('ZREM', deadlines, member)
if peer == '+' then
  local state, meta, lock = unpack(redis.call('HMGET', room_key, 'st', 'm', 'lock'))
  -- Of a locked room, only a host or moderator admits.
  if state ~= 'open' or lock == '1' then return {'STALE'} end
  local settings = cjson.decode(meta).settings or {}
  -- While the waiting room is on, a host or moderator admits.
  local wanted = {}
  if not settings.waitingRoomEnabled then
    wanted = waiting_peers()
  elseif settings.autoAdmitGuests then
    wanted = guests_of(waiting_peers())
  end
  local admitted = admit_waiting(wanted, now, reconnecting_event)
  return {#admitted > 0 and 'OK' or 'STALE'}
end
if peer ~= '*' then
  local seat = get_seat(peer)
  if not seat or seat.node ~= '-' or seat.gen ~= gen then return {'STALE'} end
  free_seat(seat)
  return {'OK'}
end
local found = redis.call('HMGET', room_key, 'st', 'n', 'peak', 'c', 'w', 'met')
local state, taken, peak, call, waiting, met = unpack(found)
if state ~= 'open' or taken ~= '0' then return {'STALE'} end
if met then
  end_call(call, ended_event, ended_details, tombstone)
elseif tonumber(waiting or 0) > 0 then
  -- A participant in the lobby waits for the host.
  schedule_empty_room(now_ms())
else
  -- The call has not taken place and may do so later, so it leaves no tombstone.
  redis.call('DEL', room_key, log_key, order, KEYS[6], KEYS[7])
  if peak ~= '0' then fact('emptied', call, '-', '-', '-', 0, '{}') end
end
return {'OK'}
