-- mute: switches off one medium of a participant.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer   13 field of the medium
--         14 media-state-changed, a template   15 muted, a template
-- replies OK | NOPEER | ABOVE | DENIED | STALE | ABSENT
local target, kind, changed_event, muted_event = ARGV[12], ARGV[13], ARGV[14], ARGV[15]
local rank, refused = caller_rank()
if not rank then return refused end
local seat = get_seat(target)
if not seat or seat.state == 'waiting' then return answer({'NOPEER'}) end
if RANK[seat.role] >= rank then return answer({'ABOVE'}) end
local media = cjson.decode(redis.call('HGET', room_key, 'v:' .. seat.peer))
media[kind] = false
media.held = media.held or {}
media.held[kind] = true
redis.call('HSET', room_key, 'v:' .. seat.peer, cjson.encode(media))
broadcast(seat.peer, fill(changed_event, seat.peer, seat.uid, public_media(media)))
send_to_seat(seat, fill(muted_event, seat.peer, seat.uid, public_media(media)))
return answer({'OK'})
