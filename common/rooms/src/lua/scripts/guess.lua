-- guess: counts wrong guesses of a secret: a call's passcode, or an account's password.
--
-- Only wrong guesses are counted, after they were compared. While all addresses together have more
-- of them than their rate, the secret is guarded: an address that has not guessed right before has
-- one guess in `pause`. A guess in progress then holds the address for `lease`. An address without
-- other wrong guesses may try again at once after a wrong one, so that a typo costs no pause: once
-- in `spare`.
--
-- KEYS    1 guesses of one address, a hash: full (as in spend), next (no guess before, µs), known
--           (guessed right; until, µs), spare (no second try at once before, µs)
--         2 wrong guesses of all addresses, as in spend
-- ARGV    1 try, wrong or right
--         2 time in which an address gains one guess, µs (0: no rate)   3 its burst
--         4 the same for all addresses   5 their burst
--         6 pause, µs   7 lease, µs   8 time that a right guess is remembered, µs
--         9 burst of an address that has guessed right, as a multiple
--         10 spare, µs
-- replies OK known | WAIT µs rate: `address` or `all`
local step, interval, burst = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local all_interval, all_window = tonumber(ARGV[4]), ARGV[4] * ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local state = redis.call('HMGET', KEYS[1], 'full', 'next', 'known', 'spare')
local next_guess, known_until = tonumber(state[2] or 0), tonumber(state[3] or 0)
local spare_at = tonumber(state[4] or 0)
local known = known_until > now
local window = interval * burst
if known then interval = interval / ARGV[9] end
-- Guesses in progress at the same time may exceed the burst. The address then waits longer: a day
-- at most.
local full = math.min(math.max(tonumber(state[1] or 0), now), now + window + 86400000000)
local all = math.min(math.max(tonumber(redis.call('GET', KEYS[2]) or 0), now), now + 2 * all_window)

local function is_guarded()
  return not known and all_interval > 0 and all + all_interval > now + all_window
end

local function store(field, value)
  redis.call('HSET', KEYS[1], field, string.format('%.0f', value))
end

local function expire()
  local last = math.max(full, next_guess, known_until, spare_at)
  redis.call('PEXPIRE', KEYS[1], math.max(math.ceil((last - now) / 1000), 1))
end

if step == 'try' then
  if interval > 0 and full + interval > now + window then
    return {'WAIT', math.ceil(full + interval - now - window), 'address'}
  end
  if is_guarded() then
    if next_guess > now then return {'WAIT', next_guess - now, 'all'} end
    next_guess = now + ARGV[7]
    store('next', next_guess)
    expire()
  end
elseif step == 'wrong' then
  local is_first = full <= now and spare_at <= now
  if interval > 0 then
    full = full + interval
    store('full', full)
  end
  if not known and all_interval > 0 then
    all = math.min(all + all_interval, now + 2 * all_window)
    redis.call('SET', KEYS[2], string.format('%.0f', all), 'PX', math.ceil((all - now) / 1000))
  end
  if is_guarded() then
    if is_first then
      next_guess, spare_at = 0, now + ARGV[10]
      redis.call('HDEL', KEYS[1], 'next')
      store('spare', spare_at)
    else
      next_guess = now + ARGV[6]
      store('next', next_guess)
    end
  end
  if redis.call('EXISTS', KEYS[1]) == 1 then expire() end
else
  known_until = now + ARGV[8]
  store('known', known_until)
  redis.call('HDEL', KEYS[1], 'next')
  next_guess = 0
  expire()
end
return {'OK', known and 1 or 0}
