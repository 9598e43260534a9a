-- Shared by the numbered operations of a seat: relay, bcast, media, chat. `dedupe` is the key of the client's own id for the event, or nil.

-- An operation known by the client's own id: where it is in the log, and what was noted with it.
local function repetition(dedupe)
  local known = dedupe and redis.call('GET', dedupe)
  local id, note = string.match(known or '', '^(%S+) ?(.*)$')
  if id then return {'DUP', id, note} end
end

-- What became of an operation that was already taken: in the log under its mark, or without effect.
local function outcome(mark, dedupe)
  local known = repetition(dedupe)
  if known then return known end
  local from, entries = '+', nil
  repeat
    entries = redis.call('XREVRANGE', log_key, from, '-', 'COUNT', 200)
    for _, entry in ipairs(entries) do
      if entry[2][6] == mark then return {'DUP', entry[1], ''} end
    end
    from = #entries > 0 and '(' .. entries[#entries][1]
  until #entries < 200
  return {'NOPEER'}
end

-- Takes the operation's turn: nil when it is to be done now, else the reply.
local function take(peer, gen, op, seat, last, dedupe)
  local state, current = string.match(seat or '', '^(%S+) (%S+)')
  if state ~= 'connected' or current ~= gen then return {'STALE'} end
  local ahead = tonumber(op) - tonumber(last or 0)
  if ahead > 1 then return {'GAP'} end
  if ahead < 1 then return outcome(peer .. ':' .. gen .. ':' .. op, dedupe) end
  redis.call('HSET', room_key, 'o:' .. peer, op)
  return repetition(dedupe)
end

-- Every 32nd operation trims, each seat's at another one: many seats together trim as often as one that sends as much.
local function done(gen, op, id, dedupe, note)
  if dedupe then redis.call('SET', dedupe, note and id .. ' ' .. note or id, 'PX', window) end
  if (gen + op) % 32 == 0 then trim(id) end
  return {'OK', id}
end
