-- admit: admits one participant from the lobby, or all.
--
-- KEYS    1-2 prelude   3-5 seating
-- ARGV    1-4 prelude   5-7 seating   8-11 moderation   12 peer, or * for all   13 now, RFC 3339
--         14 reconnecting, a template
-- replies OK peer... | NOPEER | FULL | DENIED | STALE | ABSENT
local target, now, reconnecting_event = ARGV[12], ARGV[13], ARGV[14]
local rank, refused = caller_rank()
if not rank then return refused end
local wanted = {target}
if target == '*' then
  wanted = waiting_peers()
else
  local seat = get_seat(target)
  if not seat or seat.state ~= 'waiting' then return answer({'NOPEER'}) end
end
local admitted, full = admit_waiting(wanted, now, reconnecting_event)
if #admitted == 0 and full then return answer({'FULL'}) end
return answer({'OK', unpack(admitted)})
