-- receiver: the receiver of a direct event. Used by relay and chat. Needs prelude and seats.

-- Resolves an address: the peer with that id; else, for a bare user id, the first further device of
-- that user. Returns state, node, handle and peer id, or nothing if no such seat is in the call.
-- `seat` is the text of the seat with exactly that address.
local function resolve_receiver(to, seat)
  local function seated(peer, text)
    local state, _, node, handle = string.match(text or '', SEAT_HEAD)
    if state and state ~= 'waiting' then return state, node, handle, peer end
  end
  local devices = seat and seated(to, seat) and 0 or tonumber(redis.call('HGET', room_key, 'dev') or 0)
  if devices == 0 or string.find(to, '#', 1, true) then return seated(to, seat) end
  for device = 2, devices do
    local peer = to .. '#' .. device
    local other = redis.call('HGET', room_key, 's:' .. peer)
    if other and seated(peer, other) then return seated(peer, other) end
  end
end

-- Returns the event with the resolved address in its field `to`. The first match is that field:
-- only ids and JSON strings come before it, and quotes inside JSON strings are escaped.
local function readdress(event, to, peer)
  if to == peer then return event end
  local first, last = string.find(event, '"to":"' .. to .. '"', 1, true)
  if not first then return event end
  return string.sub(event, 1, first - 1) .. '"to":"' .. peer .. '"' .. string.sub(event, last + 1)
end
