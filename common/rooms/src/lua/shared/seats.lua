-- seats: the codec of a seat's text, field `s:<peer>` of the room's hash. The same codec in Rust is
-- seat.rs.
--
--   state generation node handle role join pid uid from address
--
-- state     connected, reconnecting or waiting (in the lobby)
-- node      node that serves the seat; `-` while it has no socket
-- handle    session within that node; `-` while it has no socket
-- join      log id of the seat's room:user-joined event; in the lobby, the last log id at the entry
-- pid       SHA-256 of the private session id
-- from      log id at which the client's view of the log begins; older than `join` after a lobby
-- address   hashes of the client's address; `-` if it is unknown

-- Pattern for the first five fields: state, generation, node, handle, role. The operations read no
-- more, and a pattern costs nothing while a function would be created at each run.
local SEAT_HEAD = '^(%S+) (%S+) (%S+) (%S+) (%S+)'

local function parse_seat(peer, text)
  local seat = {peer = peer}
  seat.state, seat.gen, seat.node, seat.handle, seat.role, seat.join, seat.pid, seat.uid, seat.from,
    seat.address = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  return seat
end

local function format_seat(seat)
  return table.concat({seat.state, seat.gen, seat.node, seat.handle, seat.role, seat.join, seat.pid,
    seat.uid, seat.from, seat.address}, ' ')
end
