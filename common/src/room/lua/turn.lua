-- Shared by the numbered operations of a seat: relay, bcast, set.
--
-- KEYS[3] the de-duplication of the client's own id, if it gave one

-- What became of an operation that was already taken: in the log under its mark, or without effect.
local function outcome(mark)
  local known = KEYS[3] and redis.call('GET', KEYS[3])
  if known then return {'DUP', known} end
  local from, entries = '+', nil
  repeat
    entries = redis.call('XREVRANGE', log_key, from, '-', 'COUNT', 200)
    for _, entry in ipairs(entries) do
      if entry[2][6] == mark then return {'DUP', entry[1]} end
    end
    from = #entries > 0 and '(' .. entries[#entries][1]
  until #entries < 200
  return {'NOPEER'}
end

-- Takes the operation's turn: nil when it is to be done now, else the reply.
local function take(peer, gen, op, seat, last)
  local state, current = string.match(seat or '', '^(%S+) (%S+)')
  if state ~= 'connected' or current ~= gen then return {'STALE'} end
  local ahead = tonumber(op) - tonumber(last or 0)
  if ahead > 1 then return {'GAP'} end
  if ahead < 1 then return outcome(peer .. ':' .. gen .. ':' .. op) end
  redis.call('HSET', room_key, 'o:' .. peer, op)
  local known = KEYS[3] and redis.call('GET', KEYS[3])
  if known then return {'DUP', known} end
end

-- Every 32nd operation trims, each seat's at another one: many seats together trim as often as one that sends as much.
local function done(gen, op, id)
  if KEYS[3] then redis.call('SET', KEYS[3], id, 'PX', window) end
  if (gen + op) % 32 == 0 then trim(id) end
  return {'OK', id}
end
