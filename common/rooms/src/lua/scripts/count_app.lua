-- count_app: participants and rooms of an app on all nodes, as its limits count them.
--
-- KEYS    as of enter_app
-- ARGV    1 time for which a report counts, ms
-- replies OK participants rooms
local counts, nodes, rooms = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = string.format('%.0f', now - tonumber(ARGV[1]))
local participants = 0
-- One for each node that reports. The sum in `total` has dead nodes until the next report.
for _, node in ipairs(redis.call('ZRANGEBYSCORE', nodes, oldest, '+inf')) do
  participants = participants + (redis.call('HGET', counts, 'n:' .. node) or 0)
end
return {'OK', participants, redis.call('ZCOUNT', rooms, oldest, '+inf')}
