-- permissions: changes what a user may do, on all devices and for the life of the room. Media that
-- are on and not allowed any more are switched off. A repetition changes and announces nothing.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer   13 permissions to change, JSON
--         14 events of give_permissions
-- replies OK | NOPEER | ABOVE | DENIED | STALE | ABSENT
local target, change, events = ARGV[12], ARGV[13], ARGV[14]
local rank, refused = caller_rank()
if not rank then return refused end
local found = get_seat(target)
if not found then return answer({'NOPEER'}) end
if RANK[found.role] >= rank then return answer({'ABOVE'}) end

-- The permissions of before are those given in this room, else those of the token.
local current = redis.call('HGET', room_key, 'r:' .. found.uid)
local values = current and cjson.decode(current)
  or cjson.decode(redis.call('HGET', room_key, 'i:' .. target)).permissions or {}
for name, value in pairs(cjson.decode(change)) do values[name] = value end
local function allowed(name) return tostring(values[name] ~= false) end
-- The same text as CallPermissions::to_json, because `join` compares it.
local permissions = string.format('{"canPublish":%s,"canShareScreen":%s,"canChat":%s}',
  allowed('canPublish'), allowed('canShareScreen'), allowed('canChat'))
if permissions == current then return answer({'OK'}) end
redis.call('HSET', room_key, 'r:' .. found.uid, permissions)
give_permissions(found.uid, permissions, events)
return answer({'OK'})
