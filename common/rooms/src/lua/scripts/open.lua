-- open: creates a room. Serves `open` and `create`. The metadata of an open room changes by
-- `update` alone, so that its participants are told and the lobby is asked again.
--
-- KEYS    1-2 prelude   3-5 seating   6 reservation of the room id
-- ARGV    1-4 prelude   5-7 seating   8 metadata, JSON   9 its version   10 call   11 host
--         12 seats   13 details of the `created` fact, or - to open   14 locked, 0 or 1
-- replies OK | EXISTS (another call has the room) | ENDED
--         OLDER (the room is open with an older version of the metadata)
--         PENDING (create only: the record of another call is about to be written)
local meta, version, call, host = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local cap, details, lock = ARGV[12], ARGV[13], ARGV[14]
local found = redis.call('HMGET', room_key, 'st', 'mv', 'c', 'n')
local state, old_version, old_call, taken = found[1], found[2], found[3], found[4]
if state == 'ended' then
  if old_call == call or details ~= '-' then return {'ENDED'} end
  redis.call('DEL', room_key)
elseif state then
  if old_call ~= call then return {'EXISTS'} end
  -- A create with the same call id is the repetition of a create whose reply was lost.
  if details ~= '-' then return {'OK'} end
  -- Only a seat keeps an empty room open longer, because requests without a seat cost nothing.
  if taken == '0' and not redis.call('ZSCORE', deadlines, member_of('*', 0)) then
    schedule_empty_room(now_ms())
  end
  return {tonumber(version) > tonumber(old_version) and 'OLDER' or 'OK'}
end
if details ~= '-' and redis.call('EXISTS', KEYS[6]) == 1 then return {'PENDING'} end
local now = now_ms()
redis.call('HSET', room_key, 'm', meta, 'mv', version, 'c', call, 'st', 'open', 'cap', cap,
  'lock', lock, 'host', host, 'gen', now, 'born', now, 'n', '0', 'peak', '0')
-- From now on the room itself keeps other calls out.
redis.call('DEL', KEYS[6])
schedule_empty_room(now)
if details ~= '-' then fact('created', call, '-', host, '-', 0, details) end
return {'OK'}
