-- beat: counts a node's heartbeat for a group of partitions, and reads the counters of the nodes
-- that follow it on the ring of the group.
--
-- KEYS    1 heartbeats of the group   2 ring of the group
-- ARGV    1 node   2 place on the ring   3 counter   4 1 to register   5 number of nodes to read
-- replies OK rank size node counter ...  rank of the node on the ring, from 0, and number of nodes
--                                        on it; then the nodes that follow, in the order of the
--                                        ring. The counter of a node that was declared dead, and
--                                        whose seats are still to be swept, is `dead`
--         SWEPT
local heartbeats, ring = KEYS[1], KEYS[2]
local node, place, counter, registers, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if registers ~= '1' then
  local known = redis.call('HGET', heartbeats, node)
  if not known or known == 'dead' then return {'SWEPT'} end
end
redis.call('HSET', heartbeats, node, counter)
local rank = redis.call('ZRANK', ring, node)
if not rank then
  redis.call('ZADD', ring, place, node)
  rank = redis.call('ZRANK', ring, node)
end
local size = redis.call('ZCARD', ring)
count = math.min(tonumber(count), size - 1)
local reply = {'OK', rank, size}
if count == 0 then return reply end
local names = redis.call('ZRANGE', ring, rank + 1, rank + count)
if #names < count then
  for _, name in ipairs(redis.call('ZRANGE', ring, 0, count - #names - 1)) do
    names[#names + 1] = name
  end
end
local counters = redis.call('HMGET', heartbeats, unpack(names))
for index, name in ipairs(names) do
  reply[#reply + 1] = name
  reply[#reply + 1] = counters[index] or 'dead'
end
return reply
