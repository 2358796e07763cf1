-- The circuit breaker of one mailer, shared by all workers. Times are milliseconds on the server's
-- own clock.
--
-- KEYS[1] is "mailqueue:{mailer:<name>}:breaker", a hash. There is none while the breaker is
-- closed.
--   failures    how often in a row the mailer could not be used
--   reason      what was said the last time (may be sealed)
--   alarm       1 where that is our own mistake, else 0
--   since       when the first of these failures was
--   not_before  until then nobody opens a connection
--   probe       until then one worker is trying, and the others wait for what comes of it
--   seen        when somebody looked last
-- It is forgotten an hour after the newest failure: by then the mailer has another name, or no
-- mail.
--
-- Beside it, each with an end of its own:
--   KEYS[1]:accepted   there while it is known that the mailer accepts mail
--   KEYS[1]:refused    a sorted set: the messages refused for what may be our own mistake, by the
--                      time of the first refusal
--   KEYS[1]:no_chunks  there while nobody is to try BDAT
--
-- ARGV[1] names the operation, the rest are its arguments. What is yes or no is 1 or 0.

local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local KEPT = 3600000
local ACCEPTED, REFUSED, NO_CHUNKS = key .. ':accepted', key .. ':refused', key .. ':no_chunks'

local function number(field) return tonumber(redis.call('HGET', key, field) or '0') end

-- The server's clock may step. Forward, a pause ends early, and one worker tries the mailer. Back,
-- all that is yet to come would take as much longer: timers look every second, so they notice.
local function even_out()
  local step = number('seen') - now
  if step > 0 then
    for _, field in ipairs({ 'not_before', 'probe' }) do
      if number(field) > now then redis.call('HINCRBY', key, field, -step) end
    end
  end
  redis.call('HSET', key, 'seen', now)
end

local operations = {}

-- Say for how long to wait, 0 for go, and after how many failures; the breaker is closed after
-- none. Say whether BDAT may be tried.
--
-- look()
--   -> wait, failures, reason, chunks
function operations.look()
  if number('failures') > 0 then even_out() end
  local wait = math.max(number('not_before'), number('probe')) - now
  local chunks = 1 - redis.call('EXISTS', NO_CHUNKS)
  return { math.max(wait, 0), number('failures'), redis.call('HGET', key, 'reason') or '', chunks }
end

-- Say the same to a worker that opens a connection if it may. Of all that ask while the breaker is
-- half open, the first one may. If it never says what came of it, another may after `patience`.
--
-- ask(patience)
--   -> wait, failures, reason, chunks
function operations.ask(patience)
  local answer = operations.look()
  if answer[1] == 0 and answer[2] > 0 then
    redis.call('HSET', key, 'probe', now + tonumber(patience))
  end
  return answer
end

-- Note that the mailer could not be used, and say for how long to wait. Each failure doubles the
-- pause. But those of workers that had begun before the breaker opened are the same failure. After
-- our own mistake nobody knows any more whether the mailer accepts mail.
--
-- failed(reason, alarm, first, longest, jitter)
--   -> wait, is_new_alarm
function operations.failed(reason, alarm, first, longest, jitter)
  local is_new = alarm == '1' and number('alarm') == 0
  if is_new then redis.call('DEL', ACCEPTED) end
  if is_new or number('not_before') <= now then
    local failures = redis.call('HINCRBY', key, 'failures', 1)
    local wanted = tonumber(first) * 2 ^ math.min(failures - 1, 30) * tonumber(jitter)
    local pause = math.min(wanted, tonumber(longest))
    redis.call('HSET', key, 'not_before', math.floor(now + pause),
      'reason', reason, 'alarm', alarm)
    redis.call('HSETNX', key, 'since', now)
    redis.call('HDEL', key, 'probe')
    redis.call('PEXPIRE', key, KEPT)
  end
  return { number('not_before') - now, is_new and 1 or 0 }
end

-- Close the breaker: the mailer works, or an operator says so. Say whether it was not closed.
--
-- close()
--   -> was_open
function operations.close() return redis.call('DEL', key) end

-- Let the mailer be tried at once where the alarm is on. Say whether it was.
--
-- hasten()
--   -> was_on
function operations.hasten()
  if number('alarm') == 0 then return 0 end
  redis.call('HSET', key, 'not_before', now)
  redis.call('HDEL', key, 'probe')
  return 1
end

-- Note for `kept` that the mailer accepts mail.
--
-- accepted(kept)
--   -> 1
function operations.accepted(kept)
  redis.call('SET', ACCEPTED, 1, 'PX', kept)
  redis.call('DEL', REFUSED)
  return 1
end

-- Note that a message was refused for what may be our own mistake, and say whose it is: 0 ours,
-- since it was said of `enough` messages within `kept` and nobody was accepted; 1 not known yet; 2
-- the message's, since others are accepted, or nothing more was known for as long as `held`.
--
-- refused(id, enough, held, kept)
--   -> blame
function operations.refused(id, enough, held, kept)
  if redis.call('EXISTS', ACCEPTED) == 1 then return 2 end
  redis.call('ZREMRANGEBYSCORE', REFUSED, '-inf', now - tonumber(kept))
  redis.call('ZADD', REFUSED, 'NX', now, id)
  -- Where the server's clock has stepped back, it counts from now on.
  if tonumber(redis.call('ZSCORE', REFUSED, id)) > now then redis.call('ZADD', REFUSED, now, id) end
  redis.call('PEXPIRE', REFUSED, kept)
  if redis.call('ZCARD', REFUSED) >= tonumber(enough) then return 0 end
  return now - redis.call('ZSCORE', REFUSED, id) < tonumber(held) and 1 or 2
end

-- Note for `kept` that the mailer can't do BDAT, though it offers it.
--
-- no_chunks(kept)
--   -> 1
function operations.no_chunks(kept)
  redis.call('SET', NO_CHUNKS, 1, 'PX', kept)
  return 1
end

return operations[ARGV[1]](unpack(ARGV, 2))
