-- update: changes the call: name, settings, seats, lock or host. The caller decided on one version
-- of the metadata. If the room has another one, the reply is CHANGED and the caller decides again.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 version that the caller decided on
--         13 metadata, JSON   14 its version   15 seats   16 locked, 0 or 1
--         17 updated, a template   18 details of the `updated` fact
--         19 admits from the lobby: none, guests or all   20 now, RFC 3339
--         21 reconnecting, a template   22 peer who becomes host, or -
--         23 denied, the event, if the lobby must ask again, or -
-- replies OK | NOPEER | ABOVE | STANDIN | CHANGED | DENIED | STALE | ABSENT
local old_version, meta, version, cap, lock = ARGV[12], ARGV[13], ARGV[14], ARGV[15], ARGV[16]
local updated_event, details, admits = ARGV[17], ARGV[18], ARGV[19]
local now, reconnecting_event, heir, denied_event = ARGV[20], ARGV[21], ARGV[22], ARGV[23]
local rank, refused = caller_rank()
if not rank then return refused end
local found = redis.call('HMGET', room_key, 'mv', 'c', 'host', 'n')
local current_version, call, host, taken = found[1], found[2], found[3], found[4]
if current_version ~= old_version then return {'CHANGED'} end
local seat
if heir ~= '-' then
  seat = get_seat(heir)
  if not seat or seat.state == 'waiting' then return answer({'NOPEER'}) end
  if RANK[seat.role] >= rank or is_guest(seat.uid) then
    return answer({'ABOVE'})
  end
  if lasting_role() ~= 'host' then return answer({'STANDIN'}) end
  -- The host of an app's call hands on the right that the app's backend gave.
  local giver = caller ~= '-' and get_seat(caller).uid or host
  local by_app = plain_role(giver) == 'host'
  redis.call('HSET', room_key, 'g:' .. giver, 'moderator')
  if by_app then redis.call('HSET', room_key, 'g:' .. seat.uid, 'host') end
elseif caller ~= '-' and RANK[lasting_role()] < RANK[lowest_role] then
  -- A lock, a name, settings and a number of seats stay when the absent host is back.
  return answer({'STANDIN'})
end
redis.call('HSET', room_key, 'm', meta, 'mv', version, 'cap', cap, 'lock', lock)
if seat then make_host(seat.uid) end
broadcast('-', fill(updated_event, '-', '-', nil, nil, redis.call('HGET', room_key, 'host')))
fact('updated', call, '-', '-', '-', taken, details)
-- The participants in the lobby were let in by the former rules.
if denied_event ~= '-' then
  for _, peer in ipairs(waiting_peers()) do remove_participant(get_seat(peer), denied_event) end
end
if admits ~= 'none' then
  local waiting = waiting_peers()
  admit_waiting(admits == 'all' and waiting or guests_of(waiting), now, reconnecting_event)
end
return answer({'OK'})
