-- media: changes which of a participant's own media are on, and tells everybody else.
--
-- What goes off always may. What goes on rests on settings of the call: which ones, the rules say, and for which role they say it.
--
-- KEYS    1-2 as the prelude   3 de-duplication (optional)
-- ARGV    1-4 as the prelude   5 sender   6 its gen   7 op   8 event, a template   9 the role that the rules took for its own
--         10-12 video, audio, screen: 1 on, 0 off, - as it is   13-15 the settings that each rests on
--         16 the settings that going on again rests on for what a moderator has switched off
-- replies OK id | DUP id note | OFF setting | DENIED | STALE | GAP
local from, gen, op, event, role, dedupe = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], KEYS[3]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 'nodes', 'm', 'v:' .. from, 'kept')
local reply = take(from, gen, op, found[1], found[2], dedupe)
if reply then return reply end
if string.match(found[1], '^%S+ %S+ %S+ %S+ (%S+)') ~= role then return {'DENIED'} end

local media = cjson.decode(found[5])
-- What a moderator has switched off, by kind; with the media, so that it goes when they go.
local held = media.held or {}
for index, kind in ipairs({'videoEnabled', 'audioEnabled', 'screenShareEnabled'}) do
  local wish = ARGV[9 + index]
  if wish == '1' and not media[kind] then
    local off = first_off(found[4], ARGV[12 + index] .. (held[kind] and ' ' .. ARGV[16] or ''))
    if off then return {'OFF', off} end
    held[kind] = nil
  end
  if wish ~= '-' then media[kind] = wish == '1' end
end
media.held = next(held) and held or nil
redis.call('HSET', room_key, 'v:' .. from, cjson.encode(media))
event = string.gsub(event, '"\\u0004"', public_media(media), 1)
local id = log('*', from, from .. ':' .. gen .. ':' .. op, event, found[6])
tell_all(found[3], id, from, event)
return done(gen, op, id, dedupe)
