-- open, create: makes a room, or gives it a newer meta.
--
-- KEYS    1 room   2 its log   3 deadlines   4 outbox
-- ARGV    1-7 as seats   8 meta   9 its version   10 call   11 host   12 cap   13 the created fact's details, or - to open
--         14 lock, 0 or 1
-- replies OK | EXISTS (create, and another call has the room) | ENDED
local meta, version, call, host, cap, details = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local found = redis.call('HMGET', room_key, 'st', 'mv', 'c', 'n')
if found[1] == 'ended' then
  if found[3] == call or details ~= '-' then return {'ENDED'} end
  redis.call('DEL', room_key)
elseif found[1] then
  -- The same call once more is the replay of a create whose reply was lost.
  if details ~= '-' then return {found[3] == call and 'OK' or 'EXISTS'} end
  if tonumber(version) > tonumber(found[2]) then redis.call('HSET', room_key, 'm', meta, 'mv', version, 'cap', cap, 'lock', ARGV[14]) end
  if found[4] == '0' then await_empty(now_ms()) end
  return {'OK'}
end
local now = now_ms()
redis.call('HSET', room_key, 'm', meta, 'mv', version, 'c', call, 'st', 'open', 'cap', cap, 'lock', ARGV[14], 'host', host,
  'gen', now, 'born', now, 'n', '0', 'peak', '0')
await_empty(now)
if details ~= '-' then fact('created', call, '-', host, '-', 0, details) end
return {'OK'}
