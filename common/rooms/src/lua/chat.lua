-- chat: a message to everybody else, or to one; kept for who comes later and recorded for good as the call's settings say.
--
-- KEYS    1-2 as the prelude   3 the history   4 the outbox   5 de-duplication (optional)
-- ARGV    1-4 as the prelude   5 sender   6 its gen   7 op   8 receiver, or *   9 event   10 the message's id and time, for a repetition
--         11 messages kept, about   12 how long they are kept after the last, ms   13 facts that may wait in the outbox
-- replies OK id | DUP id note | OFF setting | FULL | NOPEER | STALE | GAP
local from, gen, op, to, event, note, dedupe = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], KEYS[5]
local history, outbox = KEYS[3], KEYS[4]
local found = redis.call('HMGET', room_key, 's:' .. from, 'o:' .. from, 'nodes', 'm', 'c', 's:' .. to, 'kept')
local reply = take(from, gen, op, found[1], found[2], dedupe)
if reply then return reply end
local off = first_off(found[4], 'chatEnabled')
if off then return {'OFF', off} end

local state, node, handle, peer
if to ~= '*' then
  state, node, handle, peer = reach(to, found[6])
  if not state then return {'NOPEER'} end
  event = addressed(event, to, peer)
end
local settings = cjson.decode(found[4]).settings or {}
local recorded = settings.chatRecordingEnabled == true
-- Leaving and ending are always taken: they need the room that is left.
if recorded and redis.call('XLEN', outbox) >= tonumber(ARGV[13]) then return {'FULL'} end

local id = log(peer or '*', peer and '-' or from, from .. ':' .. gen .. ':' .. op, event, found[7])
if not peer then
  tell_all(found[3], id, from, event)
elseif state == 'connected' then
  tell_one(node, handle, id, event)
end
redis.call('HINCRBY', room_key, 'said', 1)
local join, uid = string.match(found[1], '^%S+ %S+ %S+ %S+ %S+ (%S+) %S+ (%S+)')
if settings.chatHistoryEnabled ~= false then
  -- By user, not by peer: who comes back under another address has its messages all the same.
  local receiver = peer and string.match(peer, '^[^#]+') or '*'
  redis.call('XADD', history, 'MAXLEN', '~', ARGV[11], '*', 'f', uid, 't', receiver, 'd', event)
  redis.call('PEXPIRE', history, ARGV[12])
end
if recorded then
  redis.call('XADD', outbox, '*', 'k', 'chat', 'c', found[5], 'r', room, 'p', from, 'u', uid, 'j', join, 'n', 0,
    'd', string.match(event, '^"[^"]+",(.*)$'))
end
return done(gen, op, id, dedupe, note)
