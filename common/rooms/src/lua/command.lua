-- Shared by what host and moderators do to others: admit, deny, role, mute, kick, update.
--
-- ARGV[8] who commands, or - for an operator   ARGV[9] its gen   ARGV[10] the lowest role that may   ARGV[11] the command's own name
--
-- The rules looked at a copy of the caller's role; here it is the truth. A caller has one command at a time under way: the last one's
-- name and answer stay with its seat, so that one whose answer was lost may be sent again.
local caller, caller_gen, least, name = ARGV[8], ARGV[9], ARGV[10], ARGV[11]

-- The rank of who commands; or none, and the reply.
local function commander()
  if redis.call('HGET', room_key, 'st') ~= 'open' then return nil, {'ABSENT'} end
  if caller == '-' then return RANK.host + 1 end
  local seat = get_seat(caller)
  if not seat or seat.state ~= 'connected' or seat.gen ~= caller_gen then return nil, {'STALE'} end
  local words = {}
  for word in string.gmatch(redis.call('HGET', room_key, 'c:' .. caller) or '', '%S+') do words[#words + 1] = word end
  if table.remove(words, 1) == name then return nil, words end
  if RANK[seat.role] < RANK[least] then return nil, {'DENIED'} end
  return RANK[seat.role]
end

local function done(reply)
  if caller ~= '-' and redis.call('HEXISTS', room_key, 's:' .. caller) == 1 then
    redis.call('HSET', room_key, 'c:' .. caller, name .. ' ' .. table.concat(reply, ' '))
  end
  return reply
end

-- Every seat of a user.
local function seats_of(uid)
  local own = {}
  for _, seat in ipairs(all_seats()) do
    if seat.uid == uid then own[#own + 1] = seat end
  end
  return own
end
