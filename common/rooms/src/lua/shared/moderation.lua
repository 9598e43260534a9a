-- moderation: the caller of a moderation command. Used by admit, deny, role, mute, lower_hand,
-- kick and update. Needs seating and roles.
--
-- ARGV    8 caller, or - for an operator   9 generation of the caller's seat
--         10 lowest role that is allowed   11 id of the command
--
-- The rules looked at a copy of the caller's role. The scripts check the role in the room as it is
-- now. A caller has one command in flight at a time. The id and the reply of the last one stay with
-- the caller's seat, so that a command whose reply was lost can be sent again. Operators have one
-- such place a room: seldom do two of them act on it within the 2 s of a repetition.
local caller, caller_gen, lowest_role, command_id = ARGV[8], ARGV[9], ARGV[10], ARGV[11]

-- Returns the reply to this command if it was executed before; else nil.
local function earlier_reply()
  local stored = {}
  for word in string.gmatch(redis.call('HGET', room_key, 'c:' .. caller) or '', '%S+') do
    stored[#stored + 1] = word
  end
  return table.remove(stored, 1) == command_id and stored or nil
end

-- Returns the rank of the caller; or nil and the reply that refuses or repeats the command.
local function caller_rank()
  if redis.call('HGET', room_key, 'st') ~= 'open' then return nil, {'ABSENT'} end
  local seat = caller ~= '-' and get_seat(caller)
  if caller ~= '-' and (not seat or seat.state ~= 'connected' or seat.gen ~= caller_gen) then
    return nil, {'STALE'}
  end
  local known = earlier_reply()
  if known then return nil, known end
  if caller == '-' then return RANK.host + 1 end
  if RANK[seat.role] < RANK[lowest_role] then return nil, {'DENIED'} end
  return RANK[seat.role]
end

-- Stores the reply and returns it.
local function answer(reply)
  if caller == '-' or redis.call('HEXISTS', room_key, 's:' .. caller) == 1 then
    redis.call('HSET', room_key, 'c:' .. caller, command_id .. ' ' .. table.concat(reply, ' '))
  end
  return reply
end

-- Returns the role by which the caller may do what outlives a stand-in: a participant who only
-- stands in for the absent host has the role of before.
local function lasting_role()
  local seat = caller ~= '-' and get_seat(caller)
  if not seat or seat.role ~= 'host' then return seat and seat.role or 'host' end
  local meta = redis.call('HGET', room_key, 'm')
  return cjson.decode(meta).host == seat.uid and 'host' or plain_role(seat.uid)
end
