-- chat: sends a message to everyone else or to one participant. Keeps it in the chat history and in
-- the outbox, as the call's settings demand.
--
-- KEYS    1-2 prelude   3 chat history   4 index of the chat history   5 outbox
--         6 de-duplication (optional)
-- ARGV    1-4 prelude   5 sender   6 generation of the sender's seat   7 operation number
--         8 receiver, or *   9 event   10 id and time of the message, for a repetition
--         11 approximate maximum length of the history
--         12 lifetime of the history after the last message, ms
--         13 maximum length of the outbox   14 maximum bytes of the history, about
--         15 bytes since the seat's last trim (optional)
-- replies OK id [CUT] | DUP id note | OFF name | FULL | NOPEER | STALE | GAP
local from, gen, op, to, event = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local note, history_length, history_ms, outbox_max = ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local history_bytes = tonumber(ARGV[14])
local history, index, outbox, dedupe = KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 'nodes', 'm', 'c',
  's:' .. to, 'kept', 'r:' .. user_of(from))
local reply = take_number(from, gen, op, found[1], found[2], dedupe, ARGV[15], 'FULL')
if reply then return reply end
local off = first_off(found[4], found[8], 'canChat chatEnabled')
if off then return {'OFF', off} end

local state, node, handle, peer
if to ~= '*' then
  state, node, handle, peer = resolve_receiver(to, found[6])
  if not state then return {'NOPEER'} end
  event = readdress(event, to, peer)
end
local settings = cjson.decode(found[4]).settings or {}
local recorded = settings.chatRecordingEnabled == true
-- The facts of leaving and ending are accepted beyond this limit, because they free what is full.
if recorded and redis.call('XLEN', outbox) >= tonumber(outbox_max) then return {'FULL'} end

local id = log(peer or '*', peer and '-' or from, from .. ':' .. gen .. ':' .. op, event, found[7])
if not peer then
  publish_to_room(found[3], id, from, event)
elseif state == 'connected' then
  publish_to_session(node, handle, id, event)
end
redis.call('HINCRBY', room_key, 'said', 1)
local sender = parse_seat(from, found[1])
if settings.chatHistoryEnabled ~= false then
  -- By user and not by peer, so that a user who returns as another peer still has the messages.
  local receiver = peer and string.match(peer, '^[^#]+') or '*'
  local entry = redis.call('XADD', history, 'MAXLEN', '~', history_length, '*', 'f', sender.uid,
    't', receiver, 'd', event)
  -- Finds a message by its id. The score is the id of its entry: milliseconds, and 10 bits for the
  -- number within the millisecond. The history exceeds its length by less than 200 entries.
  local ms, number = string.match(entry, '^(%d+)-(%d+)$')
  redis.call('ZADD', index, string.format('%.0f', ms * 1024 + number), string.match(note, '^%S+'))
  redis.call('ZREMRANGEBYRANK', index, 0, -history_length - 201)
  -- The usual message is small, so the bytes are seldom measured.
  if #event > 2048 or (gen + op) % 32 == 0 then
    if redis.call('MEMORY', 'USAGE', history, 'SAMPLES', 0) > history_bytes then
      redis.call('XTRIM', history, 'MAXLEN', math.floor(redis.call('XLEN', history) * 3 / 4))
    end
  end
  redis.call('PEXPIRE', history, history_ms)
  redis.call('PEXPIRE', index, history_ms)
end
if recorded then
  redis.call('XADD', outbox, '*', 'k', 'chat', 'c', found[5], 'r', room, 'p', from, 'u', sender.uid,
    'j', sender.join, 'n', 0, 'd', string.match(event, '^%S+ "[^"]+",(.*)$'))
end
return finish(id, dedupe, note)
