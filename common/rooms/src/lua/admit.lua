-- admit: lets one in from the lobby, or all.
--
-- KEYS    1-4 as seats
-- ARGV    1-7 as seats   8-11 as command   12 peer, or * for all   13 now, RFC 3339   14 reconnecting, a template
-- replies OK peer... | NOPEER | FULL | DENIED | STALE | ABSENT
local who = ARGV[12]
local rank, refused = commander()
if not rank then return refused end
local admitted, full = let_in_all(function(seat) return who == '*' or seat.peer == who end, ARGV[13], ARGV[14])
if #admitted == 0 and full then return done({'FULL'}) end
if #admitted == 0 and who ~= '*' then return done({'NOPEER'}) end
return done({'OK', unpack(admitted)})
