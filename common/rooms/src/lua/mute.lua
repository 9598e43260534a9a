-- mute: switches off a medium of somebody's.
--
-- KEYS    1-4 as seats
-- ARGV    1-7 as seats   8-11 as command   12 peer   13 the medium's field   14 media-state-changed, a template   15 muted, a template
-- replies OK | NOPEER | ABOVE | DENIED | STALE | ABSENT
local rank, refused = commander()
if not rank then return refused end
local seat = get_seat(ARGV[12])
if not seat or seat.state == 'waiting' then return done({'NOPEER'}) end
if RANK[seat.role] >= rank then return done({'ABOVE'}) end
local media = cjson.decode(redis.call('HGET', room_key, 'v:' .. seat.peer))
media[ARGV[13]] = false
media.held = media.held or {}
media.held[ARGV[13]] = true
redis.call('HSET', room_key, 'v:' .. seat.peer, cjson.encode(media))
announce(seat.peer, fill(ARGV[14], seat.peer, seat.uid, public_media(media)))
tell_seat(seat, fill(ARGV[15], seat.peer, seat.uid, public_media(media)))
return done({'OK'})
