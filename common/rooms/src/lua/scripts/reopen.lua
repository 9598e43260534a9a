-- reopen: lets an ended call take place once more, for a caller who was authorized elsewhere. The
-- next join opens the room.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8 call
-- replies OK | OPEN (the call is open) | EXISTS (another call has, or had, the room)
local call = ARGV[8]
local state, current_call = unpack(redis.call('HMGET', room_key, 'st', 'c'))
if state and current_call ~= call then return {'EXISTS'} end
if state == 'open' then return {'OPEN'} end
redis.call('DEL', room_key)
fact('reopened', call, '-', '-', '-', 0, '{}')
return {'OK'}
