-- Shared by what is addressed to one participant: relay, chat.

-- The seat that an address means: that peer's, else, for the bare id of a user, the first further device of that user. Returns state,
-- node, handle and the peer; nothing when nobody is there. `seat` is what the hash has for the address itself.
local function reach(to, seat)
  local function seated(peer, text)
    local state, node, handle = string.match(text or '', '^(%S+) %S+ (%S+) (%S+)')
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

-- The event with the address that was reached. Its own `to` is the first: before it are ids and JSON strings, whose quotes are escaped.
local function addressed(event, to, peer)
  if to == peer then return event end
  local first, last = string.find(event, '"to":"' .. to .. '"', 1, true)
  if not first then return event end
  return string.sub(event, 1, first - 1) .. '"to":"' .. peer .. '"' .. string.sub(event, last + 1)
end
