-- update: the call itself becomes another: its name, settings, places, lock, or host. Decided on a version of the meta: on another it
-- is decided again.
--
-- KEYS    1-4 as seats
-- ARGV    1-7 as seats   8-11 as command   12 the version it was decided on   13 meta   14 its version   15 cap   16 lock, 0 or 1
--         17 updated, a template   18 the fact's details   19 whom of the lobby it lets in: none, guests or all   20 now, RFC 3339
--         21 reconnecting, a template   22 who is host from now on, or -
-- replies OK | NOPEER | ABOVE | CHANGED | DENIED | STALE | ABSENT
local lets_in, heir = ARGV[19], ARGV[22]
local rank, refused = commander()
if not rank then return refused end
local found = redis.call('HMGET', room_key, 'mv', 'c', 'host', 'n')
if found[1] ~= ARGV[12] then return {'CHANGED'} end
local seat
if heir ~= '-' then
  seat = get_seat(heir)
  if not seat or seat.state == 'waiting' then return done({'NOPEER'}) end
  if RANK[seat.role] >= rank or string.sub(seat.uid, 1, 6) == 'guest-' then return done({'ABOVE'}) end
  redis.call('HSET', room_key, 'g:' .. found[3], 'moderator')
end
redis.call('HSET', room_key, 'm', ARGV[13], 'mv', ARGV[14], 'cap', ARGV[15], 'lock', ARGV[16])
if seat then make_host(seat.uid) end
announce('-', fill(ARGV[17], '-', '-', nil, nil, redis.call('HGET', room_key, 'host')))
fact('updated', found[2], '-', '-', '-', found[4], ARGV[18])
if lets_in ~= 'none' then
  let_in_all(function(other) return lets_in == 'all' or string.sub(other.uid, 1, 6) == 'guest-' end, ARGV[20], ARGV[21])
end
return done({'OK'})
