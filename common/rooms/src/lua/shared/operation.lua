-- operation: the numbered operations of a seat. Used by relay, bcast, media, hand and chat. Needs
-- prelude and seats. `dedupe` is the key of the client's own id for the event, or nil.
--
-- An operation trims the log if its last argument counts the bytes that its seat has sent since it
-- last did. The node asks for that at every 32nd operation of a seat and at each 64 KiB.

-- Whether this operation dropped entries that a client could still ask for.
local was_cut = false

-- Returns the reply for an event that the client already sent under the same id; else nil.
local function find_duplicate(dedupe)
  local known = dedupe and redis.call('GET', dedupe)
  local id, note = string.match(known or '', '^(%S+) ?(.*)$')
  if id then return {'DUP', id, note} end
end

-- Returns the id of an operation's event if an entry of the log has it; else nil. The mark of an
-- entry is `peer:generation:operation`; of several events `peer:generation:first-last`.
local function id_in_entry(entry, seat_mark, op)
  local mark = entry[2][6] or ''
  if string.sub(mark, 1, #seat_mark) ~= seat_mark then return end
  local first, last = string.match(mark, '^(%d+)-?(%d*)$', #seat_mark + 1)
  if first == op then return entry[1] end
  if not first or last == '' or op - first < 0 or op - last > 0 then return end
  local ms, seq = string.match(entry[1], '^(%d+)-(%d+)$')
  return ms .. '-' .. string.format('%.0f', seq + op - first)
end

-- Returns the outcome of an operation whose number was taken before: its event in the log, else
-- `refused`, because it had no effect.
local function earlier_outcome(seat_mark, op, dedupe, refused)
  local known = find_duplicate(dedupe)
  if known then return known end
  local from, entries = '+', nil
  repeat
    entries = redis.call('XREVRANGE', log_key, from, '-', 'COUNT', 200)
    for _, entry in ipairs(entries) do
      local id = id_in_entry(entry, seat_mark, op)
      if id then return {'DUP', id, ''} end
    end
    from = #entries > 0 and '(' .. entries[#entries][1]
  until #entries < 200
  return {refused}
end

-- Takes the number of an operation. Returns nil if the operation is to be done now, else its reply.
-- `seat` is the sender's seat as text, `last` the number of the seat's last operation. Trims the
-- log here, because an operation that is refused later must not skip it. A repeated operation that
-- was refused gets `refused`: NOPEER if only a missing receiver can be the reason, else FULL, after
-- which the client sends its event again and learns the reason.
local function take_number(peer, gen, op, seat, last, dedupe, bytes, refused)
  local state, current = string.match(seat or '', SEAT_HEAD)
  if state ~= 'connected' or current ~= gen then return {'STALE'} end
  local ahead = tonumber(op) - tonumber(last or 0)
  if ahead > 1 then return {'GAP'} end
  if ahead < 1 then return earlier_outcome(peer .. ':' .. gen .. ':', op, dedupe, refused) end
  redis.call('HSET', room_key, 'o:' .. peer, op)
  if bytes then
    local time = redis.call('TIME')
    was_cut = trim(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(bytes))
  end
  return find_duplicate(dedupe)
end

-- Finishes an operation.
local function finish(id, dedupe, note)
  if dedupe then redis.call('SET', dedupe, note and id .. ' ' .. note or id, 'PX', window) end
  return was_cut and {'OK', id, 'CUT'} or {'OK', id}
end
