-- The journal's atomic operations: every change of a message's state is one call of this script.
--
-- Keys. <p> is KEYS[1], "mailqueue:{<queue>}": all keys of a queue share one hash tag, hence one
-- slot of a cluster. Times are milliseconds on the server's own clock.
--
--   <p>:message:<id>   hash   state      one of the states of the drawing in docs/design.md
--                             payload    JSON, dropped when the message is sent or cancelled
--                             digest     SHA-256 of the payload, so that a task can't smuggle in another
--                             blobs      names of the large attachments that the payload refers to
--                             summary    JSON for people: subject, from, to
--                             (payload, blobs' contents, summary, results, reply and log may be sealed)
--                             results    JSON, address -> {"state": …, "reply": …}, settled ones only
--                             attempts   how often it was claimed (and not given back)
--                             tries_from attempts that don't count for the schedule: before `retry`
--                             lost       how often its worker vanished while sending
--                             priority   of the task that names it: high, normal, low
--                             token      fencing token of the newest claim, until its lease ends
--                             left_token the token of a claim whose lease has ended, until the next claim
--                             doubted    1 once it was uncertain: it may have been sent, whatever came later
--                             reply      the server's newest reply, or our reason
--                             held_from, held_due   state and due time to return to, while it is held
--                             created, since, updated, due, expires
--                             log:<n>    "<time> <JSON>", what the n-th attempt came to
--   <p>:blob:<sha256>  string one large attachment; expires unless a message refers to it
--   <p>:blobs          hash   sha256 -> how many messages refer to it
--   <p>:due            zset   id -> when somebody has to look at it next; all but final states
--   <p>:state:<state>  zset   id -> when it entered that state
--   <p>:same:<sha256>  string SHA-256 of an idempotency key -> id of the message that it stands for, for a day
--   <p>:totals         hash   accepted, discarded, and how often each final state was reached, for ever
--   <p>:joined:<priority>   list   ids of messages that no task names: one that was waiting takes them
--   <p>:waiting:<priority>  string how many were left to the task that waits in the broker; there
--                             while one is known to, for a second at most
--   <p>:fence          counter of fencing tokens
--   <p>:workers        zset   worker -> when its timer last looked
--   <p>:tick           expires after a second: one worker's timer acts for all
--
-- ARGV[1] names the operation, the rest are its arguments; see the end of the file.

local p = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local PRIORITIES = { 'high', 'normal', 'low' }
local KNOWN_TO_WAIT = 1000 -- a task that was lost keeps nobody from publishing for longer
local LOOKED_AT = 1000 -- of the joined ones, in one call
local FINAL = { sent = true, partial = true, failed = true, cancelled = true, expired = true }
local DROPS_PAYLOAD = { sent = true, cancelled = true }
local WAITING = { queued = true, retrying = true, scheduled = true, uncertain = true }
local MAY_BE_CANCELLED = { queued = true, retrying = true, scheduled = true, uncertain = true, held = true }
local MAY_BE_DISCARDED = { failed = true, partial = true, expired = true, held = true, uncertain = true }
local MAY_BE_RETRIED = { failed = true, partial = true, uncertain = true, retrying = true, expired = true }

local function key(id) return p .. ':message:' .. id end

local function get(id, field) return redis.call('HGET', key(id), field) end

local function number(id, field) return tonumber(get(id, field) or '0') end

-- The payload goes, and with its last message a large attachment.
local function drop_payload(id)
  for name in string.gmatch(get(id, 'blobs') or '', '%x+') do
    if redis.call('HINCRBY', p .. ':blobs', name, -1) < 1 then
      redis.call('HDEL', p .. ':blobs', name)
      redis.call('DEL', p .. ':blob:' .. name)
    end
  end
  redis.call('HDEL', key(id), 'payload', 'blobs')
end

-- The only place where a state changes. Without a due time nobody looks at the message again. What
-- waits is looked at when it expires, if that is earlier.
local function enter(id, state, due)
  local seen = redis.call('HMGET', key(id), 'state', 'expires')
  local old, expires = seen[1], tonumber(seen[2] or nil)
  if due and expires and WAITING[state] and expires < due then due = expires end
  if old then redis.call('ZREM', p .. ':state:' .. old, id) end
  redis.call('ZADD', p .. ':state:' .. state, now, id)
  if due then
    redis.call('ZADD', p .. ':due', due, id)
    redis.call('HSET', key(id), 'state', state, 'updated', now, 'due', due)
  else
    redis.call('ZREM', p .. ':due', id)
    redis.call('HSET', key(id), 'state', state, 'updated', now)
    redis.call('HDEL', key(id), 'due')
  end
  if FINAL[state] then redis.call('HINCRBY', p .. ':totals', state, 1) end
  if state == 'uncertain' then redis.call('HSET', key(id), 'doubted', 1) end
  if DROPS_PAYLOAD[state] then drop_payload(id) end
end

local function note(id, attempt, text)
  redis.call('HSET', key(id), 'log:' .. attempt, now .. ' ' .. text)
end

local function is_late(id)
  local expires = get(id, 'expires')
  return expires and tonumber(expires) <= now
end

-- Whether the message is too late by now. Then it is expired and never sent; one that may have been
-- sent already waits for a person instead.
local function expire(id)
  if not is_late(id) then return false end
  if get(id, 'doubted') then
    enter(id, 'uncertain')
  else
    redis.call('HSET', key(id), 'reply', 'expired before it could be sent')
    enter(id, 'expired')
  end
  return true
end

local function is_due(id) return number(id, 'due') <= now end

local function owned(id, token)
  local state = get(id, 'state')
  return (state == 'sending' or state == 'committing') and get(id, 'token') == token
end

-- Whether the claim's lease has ended, and nobody has claimed or settled the message since: a result
-- that its worker kept until the journal was back still counts, and spares a second copy.
-- What is held meanwhile takes only a result that ends it: the rest would undo the hold.
local function unclaimed_since(id, token, result)
  local state = get(id, 'state')
  local waits = state == 'uncertain' or state == 'queued' or (state == 'held' and FINAL[result])
  return waits and get(id, 'left_token') == token and number(id, 'lost') > 0
end

-- A claim whose lease has ended. Before the commit nothing can have been sent; after it, it may have.
local function recover(id, max_lost, doubt)
  local state = get(id, 'state')
  local reason = state == 'committing' and 'the worker vanished after the final dot, before the reply was recorded'
    or 'the worker vanished while sending'
  local lost = redis.call('HINCRBY', key(id), 'lost', 1)
  redis.call('HSET', key(id), 'reply', reason)
  redis.call('HSET', key(id), 'left_token', get(id, 'token'))
  redis.call('HDEL', key(id), 'token')
  if state == 'committing' then redis.call('HSET', key(id), 'doubted', 1) end
  local next_state, due = 'queued', now
  if lost >= max_lost then
    next_state, due = 'failed', nil
  elseif state == 'committing' then
    next_state, due = 'uncertain', doubt >= 0 and now + doubt or nil
  end
  note(id, get(id, 'attempts'), cjson.encode({ state = next_state, reply = reason }))
  enter(id, next_state, due)
end

local operations = {}

-- The large attachments of these messages that have to be stored before they can be accepted.
local function missing_blobs(arguments)
  local answer = {}
  for i = 4, #arguments, 9 do
    for name in string.gmatch(arguments[i + 7], '%x+') do
      if redis.call('EXISTS', p .. ':blob:' .. name) == 0 then answer[#answer + 1] = name end
    end
  end
  return answer
end

-- Whether a task that is known to wait takes that message along; if there is none, the caller is to
-- publish one.
local function joins(id, priority, room)
  if room < 1 then return false end
  local waiting = p .. ':waiting:' .. priority
  if tonumber(redis.call('GET', waiting) or room) >= room then
    redis.call('SET', waiting, 0, 'PX', KNOWN_TO_WAIT)
    return false
  end
  redis.call('INCR', waiting)
  redis.call('RPUSH', p .. ':joined:' .. priority, id)
  return true
end

-- Many: id, payload, digest, summary, send at (0: now), expires at (0: never), SHA-256 of the
-- idempotency key ('' for none), names of large attachments, priority. -> for each the id under
-- which it is known from now on, and 1 where a task is to be published for it: it is new, it isn't
-- scheduled, and it joins no task that waits (of which each has room for so many); or 'missing' and
-- the names that are not stored yet, and nothing is accepted
function operations.accept(arguments)
  local grace, window, room = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
  local answer, new, named = {}, 0, {}
  local missing = missing_blobs(arguments)
  if #missing > 0 then return { 'missing', unpack(missing) } end
  for i = 4, #arguments, 9 do
    local id, send_at, expires = arguments[i], tonumber(arguments[i + 4]), tonumber(arguments[i + 5])
    local same = arguments[i + 6] ~= '' and p .. ':same:' .. arguments[i + 6]
    local known = same and redis.call('GET', same) or id
    if redis.call('EXISTS', key(known)) == 1 then
      answer[#answer + 1] = known
      answer[#answer + 1] = 0
    else
      if same then redis.call('SET', same, id, 'PX', window) end
      if expires > 0 then redis.call('HSET', key(id), 'expires', expires) end
      if arguments[i + 7] ~= '' then redis.call('HSET', key(id), 'blobs', arguments[i + 7]) end
      for name in string.gmatch(arguments[i + 7], '%x+') do
        redis.call('PERSIST', p .. ':blob:' .. name)
        redis.call('HINCRBY', p .. ':blobs', name, 1)
      end
      redis.call('HSET', key(id), 'payload', arguments[i + 1], 'digest', arguments[i + 2],
        'summary', arguments[i + 3], 'results', '{}', 'attempts', 0, 'tries_from', 0,
        'lost', 0, 'created', now, 'since', now, 'priority', arguments[i + 8])
      if send_at > now then enter(id, 'scheduled', send_at) else enter(id, 'queued', now + grace) end
      new = new + 1
      answer[#answer + 1] = id
      -- Where one of them needs a task, that names those after it too.
      if send_at <= now and not named[arguments[i + 8]] then
        named[arguments[i + 8]] = not joins(id, arguments[i + 8], room)
      end
      answer[#answer + 1] = send_at <= now and named[arguments[i + 8]] and 1 or 0
    end
  end
  if new > 0 then redis.call('HINCRBY', p .. ':totals', 'accepted', new) end
  return answer
end

local function claim(id, digest, lease)
  local token = redis.call('INCR', p .. ':fence')
  local attempt = redis.call('HINCRBY', key(id), 'attempts', 1)
  redis.call('HSET', key(id), 'token', token)
  redis.call('HDEL', key(id), 'left_token')
  enter(id, 'sending', now + lease)
  local payload = get(id, 'digest') ~= digest and get(id, 'payload') or ''
  return { id, token, attempt, attempt - number(id, 'tries_from'), now - number(id, 'since'),
    get(id, 'results'), payload, number(id, 'lost') }
end

-- Many: id, digest of the payload in hand ('' if none). -> how many of them were looked at, then
-- for each that is now the caller's: id, token, attempt, tries, age, results, the payload ('' where
-- the one in hand is the right one), and how often it has lost a worker. One that has is claimed
-- alone, so that it can't take others with it; then fewer are looked at than were asked for, and the
-- caller asks again.
function operations.claim(arguments)
  local lease, max_lost, doubt = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
  local answer = { 0 }
  for i = 4, #arguments, 2 do
    local id, state = arguments[i], get(arguments[i], 'state')
    if (state == 'sending' or state == 'committing') and is_due(id) then
      recover(id, max_lost, doubt)
      state = get(id, 'state')
    end
    local may_go = state == 'queued' or (WAITING[state] and get(id, 'due') and is_due(id))
    if may_go and not expire(id) then
      local suspect = number(id, 'lost') > 0
      if suspect and #answer > 1 then return answer end
      answer[#answer + 1] = claim(id, arguments[i + 1], lease)
      answer[1] = answer[1] + 1
      if suspect then return answer end
    else
      answer[1] = answer[1] + 1
    end
  end
  return answer
end

-- The messages that joined a task, oldest first, high priority before low: as many as the limit says,
-- each claimed as by `claim`. A task that begins to take them waits no more. -> how many are left,
-- then the claims
function operations.take(arguments)
  local lease, limit, begins = tonumber(arguments[1]), tonumber(arguments[2]), arguments[3] == '1'
  local answer, looked_at = { 0 }, 0
  for _, priority in ipairs(PRIORITIES) do
    local joined = p .. ':joined:' .. priority
    if begins then redis.call('DEL', p .. ':waiting:' .. priority) end
    while #answer <= limit and looked_at < LOOKED_AT do
      local id = redis.call('LPOP', joined)
      if not id then break end
      looked_at = looked_at + 1
      -- What was held, or cancelled, or claimed by its id meanwhile, goes its own way.
      if get(id, 'state') == 'queued' and number(id, 'lost') == 0 and not expire(id) then
        answer[#answer + 1] = claim(id, '', lease)
      end
    end
    answer[1] = answer[1] + redis.call('LLEN', joined)
  end
  return answer
end

-- Many: id, token: the lease is prolonged while the claim still holds. -> how many did
function operations.renew(arguments)
  local lease, renewed = tonumber(arguments[1]), 0
  for i = 2, #arguments, 2 do
    local id = arguments[i]
    if get(id, 'state') == 'sending' and get(id, 'token') == arguments[i + 1] then
      redis.call('ZADD', p .. ':due', now + lease, id)
      redis.call('HSET', key(id), 'due', now + lease)
      renewed = renewed + 1
    end
  end
  return renewed
end


-- What an attempt came to: id, token, state, delay, results, reply, line of the history. -> 1 (also
-- when it was recorded already), or 0 where the claim is stale
local function settle(id, token, state, delay, results, reply, line)
  if not owned(id, token) and not unclaimed_since(id, token, state) then
    return get(id, 'state') == state and get(id, 'token') == token and 1 or 0
  end
  redis.call('HSET', key(id), 'results', results, 'reply', reply, 'lost', 0, 'token', token)
  redis.call('HDEL', key(id), 'held_from', 'held_due')
  -- Some recipients are left for the next transaction, which belongs to the same try.
  if state == 'queued' then redis.call('HINCRBY', key(id), 'tries_from', 1) end
  note(id, get(id, 'attempts'), line)
  delay = tonumber(delay)
  enter(id, state, delay >= 0 and now + delay or nil)
  return 1
end

-- Just before a message's end goes out. -> 1, or 0 where the claim is stale and it must not be sent
local function commit(id, token, lease)
  if not owned(id, token) then return 0 end
  enter(id, 'committing', now + lease)
  return 1
end

-- A worker's step from some messages to the next: how many results it has, each as `settle` takes
-- it, and then many: id, token, of those whose end comes next. -> an answer for each, in that order
function operations.advance(arguments)
  local lease, results, answer = tonumber(arguments[1]), tonumber(arguments[2]), {}
  local commits = 3 + 7 * results
  for i = 3, commits - 1, 7 do answer[#answer + 1] = settle(unpack(arguments, i, i + 6)) end
  for i = commits, #arguments, 2 do
    answer[#answer + 1] = commit(arguments[i], arguments[i + 1], lease)
  end
  return answer
end

-- The claim is handed back, at no cost to the message: it wasn't tried, or the server said of itself
-- that it can't take it now. -> 1, or 0 where it is stale
function operations.give_back(arguments)
  local id, token, delay, reply = arguments[1], arguments[2], tonumber(arguments[3]), arguments[4]
  if not owned(id, token) then return 0 end
  redis.call('HINCRBY', key(id), 'attempts', -1)
  if reply ~= '' then redis.call('HSET', key(id), 'reply', reply) end
  enter(id, delay > 0 and 'retrying' or 'queued', now + delay)
  return 1
end

-- Many: id. A task brought them to a worker that can't use its mailer now: as soon as it can, the
-- timer has to find those that are queued. -> how many are
function operations.put_back(ids)
  local count = 0
  for _, id in ipairs(ids) do
    if get(id, 'state') == 'queued' then
      enter(id, 'queued', now)
      count = count + 1
    end
  end
  return count
end

-- What is due goes (back) to the queue. -> for each for which a task should be published: id,
-- priority, and how often it has lost a worker; each is looked at again after the grace, in case that
-- task gets lost.
function operations.release(arguments)
  local tick, limit, grace = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
  local max_lost, doubt = tonumber(arguments[4]), tonumber(arguments[5])
  local answer = {}
  if tick > 0 and not redis.call('SET', p .. ':tick', '1', 'NX', 'PX', tick) then return answer end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. ':due', '-inf', now, 'LIMIT', 0, limit)) do
    local state = get(id, 'state')
    if not state then
      redis.call('ZREM', p .. ':due', id)
    elseif state == 'sending' or state == 'committing' then
      recover(id, max_lost, doubt)
    end
    if WAITING[get(id, 'state')] and get(id, 'due') and is_due(id) and not expire(id) then
      enter(id, 'queued', now + grace)
      answer[#answer + 1] = { id, get(id, 'priority'), number(id, 'lost') }
    end
  end
  return answer
end

-- A worker's timer says that it lives. Those that have been silent for a day are forgotten.
function operations.beat(arguments)
  redis.call('ZADD', p .. ':workers', now, arguments[1])
  redis.call('ZREMRANGEBYSCORE', p .. ':workers', '-inf', now - 86400000)
  return 1
end

-- Who beat within so many milliseconds, and how many messages are overdue by more than that.
function operations.pulse(arguments)
  local since = now - tonumber(arguments[1])
  return { redis.call('ZRANGEBYSCORE', p .. ':workers', since, '+inf'),
    redis.call('ZCOUNT', p .. ':due', '-inf', now - tonumber(arguments[2])) }
end

-- Many: id, the results as the caller has seen them, the results to begin anew with. An operator
-- asks for another try: recipients that were refused are tried again, those that were served are
-- not, and the schedule begins anew. -> the ids for which that was possible
function operations.retry(arguments)
  local grace, answer = tonumber(arguments[1]), {}
  for i = 2, #arguments, 3 do
    local id, seen, anew = arguments[i], arguments[i + 1], arguments[i + 2]
    if MAY_BE_RETRIED[get(id, 'state')] and get(id, 'payload') and get(id, 'results') == seen then
      redis.call('HSET', key(id), 'results', anew,
        'tries_from', get(id, 'attempts'), 'lost', 0, 'since', now)
      if is_late(id) then redis.call('HDEL', key(id), 'expires') end
      enter(id, 'queued', now + grace)
      answer[#answer + 1] = id
    end
  end
  return answer
end

local function remove(id, state)
  drop_payload(id)
  redis.call('DEL', key(id))
  redis.call('ZREM', p .. ':state:' .. state, id)
  redis.call('ZREM', p .. ':due', id)
end

-- Records of that final state that are older than the given age are removed. -> how many
function operations.trim(arguments)
  local state, before, limit = arguments[1], now - tonumber(arguments[2]), tonumber(arguments[3])
  if not FINAL[state] then return 0 end
  local ids = redis.call('ZRANGEBYSCORE', p .. ':state:' .. state, '-inf', before, 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do remove(id, state) end
  return #ids
end

-- What an operator does to messages. -> for each id: itself, 1 where it was changed, and the state
-- that it is in now ('' where there is none of that id); asking twice changes nothing more.
local function change(ids, may_be_changed, act)
  local answer = {}
  for _, id in ipairs(ids) do
    local state = get(id, 'state')
    local changes = may_be_changed[state]
    if changes then act(id, state) end
    answer[#answer + 1] = { id, changes and 1 or 0, get(id, 'state') or '' }
  end
  return answer
end

-- Many: id. Nobody looks at them any more until `resume`, `cancel` or `discard`.
function operations.hold(ids)
  return change(ids, WAITING, function(id, state)
    redis.call('HSET', key(id), 'held_from', state, 'held_due', get(id, 'due') or '')
    enter(id, 'held')
  end)
end

-- Many: id. They go to the queue; but what was scheduled doesn't leave before its time, and what may
-- have been sent already is as uncertain as before.
function operations.resume(ids)
  return change(ids, { held = true }, function(id)
    local from, due = get(id, 'held_from'), tonumber(get(id, 'held_due'))
    redis.call('HDEL', key(id), 'held_from', 'held_due')
    if from == 'uncertain' or (from == 'scheduled' and due > now) then
      enter(id, from, due)
    else
      enter(id, 'queued', now)
    end
  end)
end

-- Many: id. They are never sent (again). What is being sent can't be stopped.
function operations.cancel(ids)
  return change(ids, MAY_BE_CANCELLED, function(id) enter(id, 'cancelled') end)
end

-- Many: id. Record and payload are removed; only the totals tell that there was a message.
function operations.discard(ids)
  return change(ids, MAY_BE_DISCARDED, function(id, state)
    remove(id, state)
    redis.call('HINCRBY', p .. ':totals', 'discarded', 1)
  end)
end

local operation = operations[ARGV[1]]
if not operation then return redis.error_reply('ERR unknown journal operation ' .. tostring(ARGV[1])) end
local arguments = {}
for i = 2, #ARGV do arguments[i - 1] = ARGV[i] end
return operation(arguments)
