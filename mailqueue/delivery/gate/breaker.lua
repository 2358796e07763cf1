-- The circuit breaker of one mailer, shared by all workers. Times are milliseconds on the server's
-- own clock.
--
-- KEYS[1] is "mailqueue:{mailer:<name>}:breaker", a hash. There is none while the breaker is closed.
--   failures    how often in a row the mailer could not be used
--   reason      what was said the last time (may be sealed)
--   alarm       1 where that is our own mistake, else 0
--   since       when the first of these failures was
--   not_before  until then nobody opens a connection
--   probe       until then one worker is trying, and the others wait for what comes of it
-- It is forgotten an hour after the newest failure: by then the mailer has another name, or no mail.
--
-- ARGV[1] names the operation, the rest are its arguments.

local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local KEPT = 3600000

local function number(field) return tonumber(redis.call('HGET', key, field) or '0') end

local operations = {}

-- -> for how long to wait (0: go), failures (0: the breaker is closed), reason
function operations.look()
  local wait = math.max(number('not_before'), number('probe')) - now
  return { math.max(wait, 0), number('failures'), redis.call('HGET', key, 'reason') or '' }
end

-- The same for somebody who opens a connection if he may: of all who ask while the breaker is half
-- open, the first one may. If he never says what came of it, another may after so long.
function operations.ask(patience)
  local answer = operations.look()
  if answer[1] == 0 and answer[2] > 0 then redis.call('HSET', key, 'probe', now + tonumber(patience)) end
  return answer
end

-- The mailer could not be used. Each failure doubles the pause, but those of workers that had begun
-- before the breaker opened are the same one. -> for how long to wait; 1 where the alarm is new
function operations.failed(reason, alarm, first, longest, jitter)
  local is_new = alarm == '1' and number('alarm') == 0
  if is_new or number('not_before') <= now then
    local failures = redis.call('HINCRBY', key, 'failures', 1)
    local pause = math.min(tonumber(first) * 2 ^ math.min(failures - 1, 30), tonumber(longest))
    redis.call('HSET', key, 'not_before', math.floor(now + pause * tonumber(jitter)),
      'reason', reason, 'alarm', alarm)
    redis.call('HSETNX', key, 'since', now)
    redis.call('HDEL', key, 'probe')
    redis.call('PEXPIRE', key, KEPT)
  end
  return { number('not_before') - now, is_new and 1 or 0 }
end

-- The mailer works, or an operator says so. -> 1 where the breaker was not closed
function operations.close() return redis.call('DEL', key) end

-- Where the alarm is on, the mailer may be tried at once. -> 1 where it was
function operations.hasten()
  if number('alarm') == 0 then return 0 end
  redis.call('HSET', key, 'not_before', now)
  redis.call('HDEL', key, 'probe')
  return 1
end

return operations[ARGV[1]](unpack(ARGV, 2))
