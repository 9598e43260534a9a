-- enter_app: reports a node's participants and rooms of an app, and takes a place for one more
-- participant if the app's limits allow it.
--
-- KEYS    1 participants of each node, and their sum `total`   2 nodes by the time of their reports
--         3 rooms with a participant by the time of their reports
-- ARGV    1 node   2 participants on the node, without a new one
--         3 report, enter (report and take a place for one more) or ask (change nothing)
--         4 maximum number of participants; 0 is no limit   5 the same of rooms
--         6 time for which a report counts, ms
--         7... rooms with a participant on the node, if rooms are limited: at most 100 in one
--         report. The room of a new participant stands alone
-- replies OK participants nodes   participants on all nodes, with a new one; nodes that report
--         PARTICIPANTS | ROOMS    the app has its most of them; no place was taken, or would be
--
-- A report replaces the node's earlier one. So a repetition changes nothing, and a node whose
-- report Redis lost is counted again by its next one.
local counts, nodes, rooms = KEYS[1], KEYS[2], KEYS[3]
local node, own, step = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local most, most_rooms, lifetime = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before_oldest = string.format('(%.0f', now - lifetime)

local function set_participants(name, count)
  local before = redis.call('HGET', counts, 'n:' .. name) or 0
  redis.call('HSET', counts, 'n:' .. name, count)
  return redis.call('HINCRBY', counts, 'total', count - before)
end

local function drop_dead_node()
  -- One at a time, so that the cost is bounded.
  local dead = redis.call('ZRANGEBYSCORE', nodes, '-inf', before_oldest, 'LIMIT', 0, 1)[1]
  if not dead then return end
  set_participants(dead, 0)
  redis.call('HDEL', counts, 'n:' .. dead)
  redis.call('ZREM', nodes, dead)
end

local function has_most_rooms()
  local score = redis.call('ZSCORE', rooms, ARGV[7])
  if score and tonumber(score) >= now - lifetime then return false end
  local stale = redis.call('ZCOUNT', rooms, '-inf', before_oldest)
  return redis.call('ZCARD', rooms) - stale >= most_rooms
end

local total = nil
if step == 'ask' then
  total = tonumber(redis.call('HGET', counts, 'total') or 0)
else
  drop_dead_node()
  total = set_participants(node, own)
  redis.call('ZADD', nodes, now, node)
end
local full = nil
if step ~= 'report' then
  full = most > 0 and total >= most and 'PARTICIPANTS' or nil
  full = full or (most_rooms > 0 and has_most_rooms() and 'ROOMS' or nil)
end
if step ~= 'ask' then
  if step == 'enter' and not full then total = set_participants(node, own + 1) end
  if not full then
    for index = 7, #ARGV do redis.call('ZADD', rooms, now, ARGV[index]) end
  end
  local stale = redis.call('ZCOUNT', rooms, '-inf', before_oldest)
  if stale > 0 then redis.call('ZREMRANGEBYRANK', rooms, 0, math.min(stale, 200) - 1) end
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, lifetime * 6) end
end
if full then return {full} end
return {'OK', total, redis.call('ZCARD', nodes)}
