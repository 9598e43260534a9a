-- media: switches the sender's own media and announces them.
--
-- A medium can always be switched off. Switching one on needs settings of the call and permissions
-- of the user. The rules name them, and the role for which they named them.
--
-- KEYS    1-2 prelude   3 de-duplication (optional)
-- ARGV    1-4 prelude   5 sender   6 generation of the sender's seat   7 operation number
--         8 event, a template   9 role that the rules assumed
--         10-12 video, audio, screen: 1 on, 0 off, - unchanged
--         13-15 settings and permissions that video, audio and screen require
--         16 settings required besides for a medium that a moderator switched off
--         17 bytes since the seat's last trim (optional)
-- replies OK id [CUT] | DUP id note | OFF name | DENIED | FULL | STALE | GAP
local from, gen, op, event, role, dedupe = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], KEYS[3]
local unmuting_settings = ARGV[16]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 'nodes', 'm', 'v:' .. from,
  'kept', 'r:' .. user_of(from))
local reply = take_number(from, gen, op, found[1], found[2], dedupe, ARGV[17], 'FULL')
if reply then return reply end
local _, _, _, _, current_role = string.match(found[1], SEAT_HEAD)
if current_role ~= role then return {'DENIED'} end

local media = cjson.decode(found[5])
-- Kinds that a moderator switched off. They are stored with the media, so that they end with them.
local held = media.held or {}
for index, kind in ipairs({'videoEnabled', 'audioEnabled', 'screenShareEnabled'}) do
  local wish, required = ARGV[9 + index], ARGV[12 + index]
  if wish == '1' and not media[kind] then
    local names = required .. (held[kind] and ' ' .. unmuting_settings or '')
    local off = first_off(found[4], found[7], names)
    if off then return {'OFF', off} end
    held[kind] = nil
  end
  if wish ~= '-' then media[kind] = wish == '1' end
end
media.held = next(held) and held or nil
redis.call('HSET', room_key, 'v:' .. from, cjson.encode(media))
event = string.gsub(event, '"\\u0004"', public_media(media), 1)
local id = log('*', from, from .. ':' .. gen .. ':' .. op, event, found[6])
publish_to_room(found[3], id, from, event)
return finish(id, dedupe)
