-- reserve: keeps a room id for a call whose record is about to be written, or gives it up. Nobody
-- can join by a reservation; it only keeps `open` from creating another call in the room.
--
-- KEYS    1 the room's hash   2 reservation of the room id
-- ARGV    1 call   2 lifetime of the reservation, ms; 0 gives it up
-- replies OK        the room id is, or was, this call's
--         EXISTS    another call is open in the room
--         PENDING   another call is about to be created in the room
local call, lifetime = ARGV[1], tonumber(ARGV[2])
local state, open_call = unpack(redis.call('HMGET', KEYS[1], 'st', 'c'))
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= call then return {'PENDING'} end
if lifetime == 0 then
  redis.call('DEL', KEYS[2])
elseif state == 'open' then
  return {open_call == call and 'OK' or 'EXISTS'}
else
  redis.call('SET', KEYS[2], call, 'PX', lifetime)
end
return {'OK'}
