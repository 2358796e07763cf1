-- The journal's atomic operations: every change of a message's state is one call of this script.
--
-- Keys. <p> is KEYS[1], "mailqueue:{<queue>}": all keys of a queue share one hash tag, hence one
-- slot of a cluster. Times are milliseconds on the server's own clock. A message's field that is empty
-- or absent has no value, or 0, or what is said below: what is the same for most isn't written.
-- (Earlier versions wrote all of them.)
--
--   <p>:message:<id>   hash   state      one of the states of the drawing in docs/design.md
--                             payload    JSON, emptied when the message is sent or cancelled
--                             digest     SHA-256 of the payload, so that a task can't smuggle in another
--                             blobs      names of the large attachments that the payload refers to
--                             summary    JSON for people: subject, from, to
--                             (payload, blobs' contents, summary, results, reply and log may be sealed)
--                             results    JSON, address -> {"state": …, "reply": …}, settled ones only; {} if absent
--                             attempts   how often it was claimed (and not given back)
--                             tries_from attempts that don't count for the schedule: before `retry`
--                             lost       how often its worker vanished while sending
--                             priority   of the task that names it: high, normal (if absent), low
--                             token      fencing token of the newest claim, until its lease ends
--                             left_token the token of a claim whose lease has ended, until the next claim
--                             doubted    1 once it was uncertain: it may have been sent, whatever came later
--                             reply      the server's newest reply, or our reason; if absent, log's last
--                             held_from, held_due   state and due time to return to, while it is held
--                             created, due, expires
--                             since      when a person last asked for another try; created if absent
--                             updated    when it entered its state; created if absent
--                             log:<n>    "<time> <JSON>", what the n-th attempt came to
--   <p>:blob:<sha256>  string one large attachment; expires unless a message refers to it
--   <p>:blobs          hash   sha256 -> how many messages refer to it
--   <p>:due            zset   id -> when somebody has to look at it next; all but final states. A commit
--                             changes the field only, and whoever looks too early looks again then
--   <p>:state:<state>  zset   id -> when it entered that state; that of `sending` holds what is committing
--                             too, for which earlier versions had another
--   <p>:same:<sha256>  string SHA-256 of an idempotency key -> id of the message that it stands for, for a day
--   <p>:totals         hash   accepted, discarded, and how often each final state was reached, for ever
--   <p>:joined:<priority>   list   ids of messages for whichever task has room first; most are named by none
--   <p>:task:<priority>  hash of the newest task, while that is known to wait in the broker, for a second
--                             at most: which message it names first, how many it has with those that joined
--   <p>:fence          counter of fencing tokens
--   <p>:workers        zset   worker -> when its timer last looked
--   <p>:tick           expires after a second: one worker's timer acts for all
--
-- ARGV[1] names the operation, the rest are its arguments. Each operation is a block that returns: to
-- define all of them would take longer than to carry out one, so the most frequent come first. What
-- costs is each redis.call(), and then each table and each function that a call of the script makes: ten
-- of these take as long as the rest of it. So there are few on the way that most messages go.

local p = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local operation = ARGV[1]

-- A worker's step from some messages to the next: how many results it has, and of each id, token,
-- state, delay, results, line of the history; then many: id, token, of those whose end goes out
-- next. -> for each result 1 (also when it was recorded already), or 0 where the claim is stale; for
-- each of the others 1, or 0 where the claim is stale and the end must not be sent
--
-- The ordinary result, sent by whom it was claimed, with nothing else to undo, is recorded here, any
-- other by `settle`, below.
local settled, unusual = {}, false
if operation == 'advance' then
  local due, commits = now + tonumber(ARGV[2]), 4 + 6 * tonumber(ARGV[3])
  local count = 0
  for i = 4, commits - 1, 6 do
    local id = ARGV[i]
    local name = p .. ':message:' .. id
    local found = redis.call('HMGET', name, 'state', 'token', 'attempts', 'lost', 'blobs', 'reply')
    count = count + 1
    if ARGV[i + 2] == 'sent' and found[2] == ARGV[i + 1] and (found[1] == 'committing' or found[1] == 'sending')
        and (found[4] or '0') == '0' and not found[5] and (found[6] or '') == '' then
      if redis.call('ZREM', p .. ':state:sending', id) == 0 then redis.call('ZREM', p .. ':state:committing', id) end
      redis.call('ZREM', p .. ':due', id)
      redis.call('HSET', name, 'state', 'sent', 'updated', now, 'due', '', 'payload', '', 'results', ARGV[i + 4],
        'log:' .. found[3], now .. ' ' .. ARGV[i + 5])
      redis.call('ZADD', p .. ':state:sent', now, id)
      redis.call('HINCRBY', p .. ':totals', 'sent', 1)
      settled[count] = 1
    else
      settled[count], unusual = false, true
    end
  end
  -- A server that is full refuses a first write that may need room, and takes all that follows one
  -- that doesn't. This does nothing.
  if commits == 4 or unusual then redis.call('PERSIST', p .. ':totals') end
  for i = commits, #ARGV, 2 do
    local id = ARGV[i]
    local name = p .. ':message:' .. id
    local found = redis.call('HMGET', name, 'state', 'token', 'due')
    count = count + 1
    if found[2] == ARGV[i + 1] and (found[1] == 'sending' or found[1] == 'committing') then
      redis.call('HSET', name, 'state', 'committing', 'updated', now, 'due', due)
      if due < (tonumber(found[3]) or due) then redis.call('ZADD', p .. ':due', due, id) end
      settled[count] = 1
    else
      settled[count] = 0
    end
  end
  if not unusual then return settled end
end

-- Many: id, payload, digest, summary, send at (0: now), expires at (0: never), SHA-256 of the
-- idempotency key ('' for none), names of large attachments, priority. -> for each the id under
-- which it is known from now on, and 1 where a task is to be published for it: it is new, it isn't
-- scheduled, and it joins no task that waits (of which each has room for so many); or 'missing' and
-- the names of attachments that have to be stored before, and nothing is accepted. No more than some
-- thousand messages: Lua has room for so many arguments.
if operation == 'accept' then
  local grace, window, room = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  local answer, missing, new, named, queued, dues = {}, nil, 0, {}, {}, {}
  for i = 5, #ARGV, 9 do
    if ARGV[i + 7] ~= '' then
      for name in string.gmatch(ARGV[i + 7], '%x+') do
        if redis.call('EXISTS', p .. ':blob:' .. name) == 0 then
          missing = missing or { 'missing' }
          missing[#missing + 1] = name
        end
      end
    end
  end
  if missing then return missing end

  -- Whether a task that is known to wait takes that message along; if there is none, the caller is
  -- to publish one. A task that was lost keeps nobody from that for longer than a second.
  local function joins(id, priority)
    if room < 1 then return false end
    local task = p .. ':task:' .. priority
    local has = redis.call('HINCRBY', task, 'has', 1)
    if has > 1 and has <= room + 1 then return true end
    redis.call('HSET', task, 'names', id, 'has', 1)
    redis.call('PEXPIRE', task, 1000)
    return false
  end

  for i = 5, #ARGV, 9 do
    local id, send_at, expires = ARGV[i], tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
    local blobs, priority = ARGV[i + 7], ARGV[i + 8]
    local same = ARGV[i + 6] ~= '' and p .. ':same:' .. ARGV[i + 6]
    local known = same and redis.call('GET', same) or id
    if redis.call('EXISTS', p .. ':message:' .. known) == 1 then
      answer[#answer + 1] = known
      answer[#answer + 1] = 0
    else
      local state, due, name = 'queued', now + grace, p .. ':message:' .. id
      if send_at > now then state, due = 'scheduled', send_at end
      if expires > 0 and expires < due then due = expires end
      -- First: a server that is full refuses this, and then the whole script; later it would not.
      redis.call('HSET', name, 'state', state, 'due', due, 'created', now, 'payload', ARGV[i + 1],
        'digest', ARGV[i + 2], 'summary', ARGV[i + 3])
      if priority ~= 'normal' then redis.call('HSET', name, 'priority', priority) end
      if expires > 0 then redis.call('HSET', name, 'expires', expires) end
      if blobs ~= '' then
        redis.call('HSET', name, 'blobs', blobs)
        for blob in string.gmatch(blobs, '%x+') do
          redis.call('PERSIST', p .. ':blob:' .. blob)
          redis.call('HINCRBY', p .. ':blobs', blob, 1)
        end
      end
      if same then redis.call('SET', same, id, 'PX', window) end
      if state == 'queued' then
        queued[#queued + 1] = now
        queued[#queued + 1] = id
      else
        redis.call('ZADD', p .. ':state:scheduled', now, id)
      end
      dues[2 * new + 1], dues[2 * new + 2] = due, id
      new = new + 1
      if send_at <= now then
        -- Where one of them needs a task, that names those after it too.
        if not named[priority] then named[priority] = not joins(id, priority) end
        -- Also what a new task names: one that runs may come to it before that begins.
        if room > 0 then redis.call('RPUSH', p .. ':joined:' .. priority, id) end
      end
      answer[#answer + 1] = id
      answer[#answer + 1] = send_at <= now and named[priority] and 1 or 0
    end
  end
  if new > 0 then
    if #queued > 0 then redis.call('ZADD', p .. ':state:queued', unpack(queued)) end
    redis.call('ZADD', p .. ':due', unpack(dues))
    redis.call('HINCRBY', p .. ':totals', 'accepted', new)
  end
  return answer
end

local function key(id) return p .. ':message:' .. id end

-- A message's fields are read when they are asked for, or, where that is often, at once before; what
-- changes is written at once, by `done`.
local records, changes = {}, {}

-- False where there is none: an empty value is the same as none, and cheaper than its removal.
local function get(id, field)
  local found = records[id]
  if not found then
    found = {}
    records[id] = found
  end
  local value = found[field]
  if value == nil then
    value = redis.call('HGET', key(id), field)
    found[field] = value
  end
  return value ~= '' and value
end

local function number(id, field) return tonumber(get(id, field) or 0) end

local function set(id, field, value)
  if not records[id] then records[id] = {} end
  records[id][field] = value
  local changed = changes[id]
  if not changed then
    changed = {}
    changes[id] = changed
  end
  changed[#changed + 1] = field
  changed[#changed + 1] = value
end

-- Write what has changed; to be called once, with the operation's answer.
local function done(answer)
  for id, changed in pairs(changes) do redis.call('HSET', key(id), unpack(changed)) end
  return answer
end

local function is_final(state)
  return state == 'sent' or state == 'partial' or state == 'failed' or state == 'cancelled' or state == 'expired'
end

local function is_waiting(state)
  return state == 'queued' or state == 'retrying' or state == 'scheduled' or state == 'uncertain'
end

-- The payload goes, and with its last message a large attachment.
local function drop_payload(id)
  for name in string.gmatch(get(id, 'blobs') or '', '%x+') do
    if redis.call('HINCRBY', p .. ':blobs', name, -1) < 1 then
      redis.call('HDEL', p .. ':blobs', name)
      redis.call('DEL', p .. ':blob:' .. name)
    end
  end
  if get(id, 'blobs') then set(id, 'blobs', '') end
  set(id, 'payload', '')
end

-- What is committing stays in the set of what is sending, so that a commit writes to its hash only;
-- but earlier versions had a set for it.
local function leave(id, state)
  local name = p .. ':state:' .. (state == 'committing' and 'sending' or state)
  if redis.call('ZREM', name, id) == 0 and state == 'committing' then
    redis.call('ZREM', p .. ':state:committing', id)
  end
end

-- The only place where a state changes, but for what is ordinary: accepted, claimed, committed, sent.
-- Without a due time nobody looks at the message again. What waits is looked at when it expires, if
-- that is earlier.
local function enter(id, state, due)
  local expires = due and is_waiting(state) and tonumber(get(id, 'expires'))
  if expires and expires < due then due = expires end
  leave(id, get(id, 'state'))
  redis.call('ZADD', p .. ':state:' .. state, now, id)
  if due then redis.call('ZADD', p .. ':due', due, id) else redis.call('ZREM', p .. ':due', id) end
  set(id, 'state', state)
  set(id, 'updated', now)
  set(id, 'due', due or '')
  if is_final(state) then redis.call('HINCRBY', p .. ':totals', state, 1) end
  if state == 'uncertain' then set(id, 'doubted', 1) end
  if state == 'sent' or state == 'cancelled' then drop_payload(id) end
end

local function note(id, text) set(id, 'log:' .. number(id, 'attempts'), now .. ' ' .. text) end

local function owned(id, token)
  local state = get(id, 'state')
  return (state == 'sending' or state == 'committing') and get(id, 'token') == token
end

-- The results that were left by `advance`, above.
if operation == 'advance' then
  -- Whether the claim's lease has ended, and nobody has claimed or settled the message since: a
  -- result that its worker kept until the journal was back still counts, and spares a second copy.
  -- What is held meanwhile takes only a result that ends it: the rest would undo the hold.
  local function unclaimed_since(id, token, result)
    local state = get(id, 'state')
    local waits = state == 'uncertain' or state == 'queued' or (state == 'held' and is_final(result))
    return waits and get(id, 'left_token') == token and number(id, 'lost') > 0
  end

  local function settle(id, token, state, delay, results, line)
    if not owned(id, token) then
      if not unclaimed_since(id, token, state) then
        return get(id, 'state') == state and get(id, 'token') == token and 1 or 0
      end
      set(id, 'token', token)
    end
    set(id, 'results', results)
    set(id, 'reply', '')
    set(id, 'lost', 0)
    if get(id, 'state') == 'held' then
      set(id, 'held_from', '')
      set(id, 'held_due', '')
    end
    -- Some recipients are left for the next transaction, which belongs to the same try.
    if state == 'queued' then set(id, 'tries_from', number(id, 'tries_from') + 1) end
    note(id, line)
    delay = tonumber(delay)
    enter(id, state, delay >= 0 and now + delay)
    return 1
  end

  for n = 1, tonumber(ARGV[3]) do
    settled[n] = settled[n] or settle(unpack(ARGV, 6 * n - 2, 6 * n + 3))
  end
  return done(settled)
end

local function is_due(id) return number(id, 'due') <= now end

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
    set(id, 'reply', 'expired before it could be sent')
    enter(id, 'expired')
  end
  return true
end

-- A claim whose lease has ended. Before the commit nothing can have been sent; after it, it may have.
local function recover(id, max_lost, doubt)
  local committed = get(id, 'state') == 'committing'
  local reason = committed and 'the worker vanished after the final dot, before the reply was recorded'
    or 'the worker vanished while sending'
  set(id, 'lost', number(id, 'lost') + 1)
  set(id, 'reply', reason)
  set(id, 'left_token', get(id, 'token'))
  set(id, 'token', '')
  if committed then set(id, 'doubted', 1) end
  local next_state, due = 'queued', now
  if number(id, 'lost') >= max_lost then
    next_state, due = 'failed', nil
  elseif committed then
    next_state, due = 'uncertain', doubt >= 0 and now + doubt or nil
  end
  note(id, cjson.encode({ state = next_state, reply = reason }))
  enter(id, next_state, due)
end

-- Note a claim, to be carried out by `claimed`: of each the answer (id, token, attempt, tries, age,
-- results, payload, lost), and the state that the message was in.
local claims, states = {}, {}

local function claim(id, digest, lease)
  local attempt, tries_from, results = number(id, 'attempts') + 1, 0, '{}'
  -- Before the first attempt there is none of these.
  if attempt > 1 then
    tries_from, results = number(id, 'tries_from'), get(id, 'results') or results
    if get(id, 'left_token') then set(id, 'left_token', '') end
  end
  claims[#claims + 1] = { id, 0, attempt, attempt - tries_from,
    now - tonumber(get(id, 'since') or get(id, 'created')), results,
    get(id, 'digest') ~= digest and get(id, 'payload') or '', number(id, 'lost') }
  states[#claims] = get(id, 'state')
  records[id].state, records[id].due = 'sending', now + lease
end

-- Lua has room for some thousands of arguments.
local function in_parts(command, name, list)
  for i = 1, #list, 1000 do redis.call(command, name, unpack(list, i, math.min(i + 999, #list))) end
end

-- Carry out the claims, and write what else has changed. A server that is full refuses the first
-- write, and then all. -> what the operation answers first, then the claims
local function claimed(first, lease)
  local answer, count, due, queued, entered, dues = { first }, #claims, now + lease, {}, {}, {}
  if count == 0 then return done(answer) end
  local token = redis.call('INCRBY', p .. ':fence', count) - count
  done()
  for i, row in ipairs(claims) do
    local id = row[1]
    row[2] = token + i
    redis.call('HSET', key(id), 'state', 'sending', 'token', row[2], 'attempts', row[3], 'updated', now, 'due', due)
    if states[i] == 'queued' then queued[#queued + 1] = id else leave(id, states[i]) end
    entered[2 * i - 1], entered[2 * i] = now, id
    dues[2 * i - 1], dues[2 * i] = due, id
    answer[i + 1] = row
  end
  in_parts('ZREM', p .. ':state:queued', queued)
  in_parts('ZADD', p .. ':state:sending', entered)
  in_parts('ZADD', p .. ':due', dues)
  return answer
end

-- What a claim needs, read at once.
local function look(id, also)
  local found = redis.call('HMGET', key(id), 'state', 'attempts', 'lost', 'expires', 'since', 'created', also)
  records[id] = { state = found[1], attempts = found[2], lost = found[3], expires = found[4],
    since = found[5], created = found[6], [also] = found[7] }
end

-- Many: id, digest of the payload in hand ('' if none). -> how many of them were looked at, then
-- for each that is now the caller's: id, token, attempt, tries, age, results, the payload ('' where
-- the one in hand is the right one), and how often it has lost a worker. One that has is claimed
-- alone, so that it can't take others with it; then fewer are looked at than were asked for, and the
-- caller asks again.
if operation == 'claim' then
  local lease, max_lost, doubt = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  local looked_at = 0
  for i = 5, #ARGV, 2 do
    local id = ARGV[i]
    if not records[id] then look(id, 'digest') end
    local state = get(id, 'state')
    if (state == 'sending' or state == 'committing') and is_due(id) then
      recover(id, max_lost, doubt)
      state = get(id, 'state')
    end
    local may_go = state == 'queued' or (is_waiting(state) and get(id, 'due') and is_due(id))
    if may_go and not expire(id) then
      local suspect = number(id, 'lost') > 0
      if suspect and #claims > 0 then break end
      claim(id, ARGV[i + 1], lease)
      looked_at = looked_at + 1
      if suspect then break end
    else
      looked_at = looked_at + 1
    end
  end
  return claimed(looked_at, lease)
end

-- Of the messages for whichever task has room, oldest first, high priority before low, as many as the
-- limit says, each claimed as by `claim`. The task that names that message first (if not '') waits no
-- more. -> how many are left for which no other is known to wait, with some that are claimed by their
-- ids; then the claims
if operation == 'take' then
  local lease, limit, names = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
  local looked_at, left = 0, 0
  for _, priority in ipairs({ 'high', 'normal', 'low' }) do
    local joined, task = p .. ':joined:' .. priority, p .. ':task:' .. priority
    if names ~= '' and redis.call('HGET', task, 'names') == names then redis.call('DEL', task) end
    while #claims < limit and looked_at < 1000 do
      local id = redis.call('LPOP', joined)
      if not id then break end
      looked_at = looked_at + 1
      if not records[id] then look(id, 'payload') end
      -- What was held, or cancelled, or claimed by its id meanwhile, goes its own way.
      if get(id, 'state') == 'queued' and number(id, 'lost') == 0 and not expire(id) then
        claim(id, '', lease)
      end
    end
    local more = redis.call('LLEN', joined)
    if more > 0 and redis.call('EXISTS', task) == 0 then left = left + more end
  end
  return claimed(left, lease)
end

-- Many: id, token: the lease is prolonged while the claim still holds. -> how many did
if operation == 'renew' then
  local lease, renewed = tonumber(ARGV[2]), 0
  redis.call('PERSIST', p .. ':totals') -- so that a server that is full takes the rest
  for i = 3, #ARGV, 2 do
    local id = ARGV[i]
    if get(id, 'state') == 'sending' and get(id, 'token') == ARGV[i + 1] then
      redis.call('ZADD', p .. ':due', now + lease, id)
      set(id, 'due', now + lease)
      renewed = renewed + 1
    end
  end
  return done(renewed)
end

-- The claim is handed back, at no cost to the message: it wasn't tried, or the server said of itself
-- that it can't take it now. -> 1, or 0 where it is stale
if operation == 'give_back' then
  local id, token, delay, reply = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
  if not owned(id, token) then return 0 end
  set(id, 'attempts', number(id, 'attempts') - 1)
  if reply ~= '' then set(id, 'reply', reply) end
  enter(id, delay > 0 and 'retrying' or 'queued', now + delay)
  return done(1)
end

-- Many: id. A task brought them to a worker that can't use its mailer now: as soon as it can, the
-- timer has to find those that are queued. -> how many are
if operation == 'put_back' then
  local count = 0
  for i = 2, #ARGV do
    if get(ARGV[i], 'state') == 'queued' then
      enter(ARGV[i], 'queued', now)
      count = count + 1
    end
  end
  return done(count)
end

-- What is due goes (back) to the queue. -> for each for which a task should be published: id,
-- priority, and how often it has lost a worker; each is looked at again after the grace, in case that
-- task gets lost.
if operation == 'release' then
  local tick, limit, grace = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  local max_lost, doubt = tonumber(ARGV[5]), tonumber(ARGV[6])
  local answer = {}
  if tick > 0 and not redis.call('SET', p .. ':tick', '1', 'NX', 'PX', tick) then return answer end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. ':due', '-inf', now, 'LIMIT', 0, limit)) do
    local found = redis.call('HMGET', key(id), 'state', 'due', 'expires', 'lost', 'priority')
    records[id] = { state = found[1], due = found[2], expires = found[3], lost = found[4],
      priority = found[5] }
    local state = get(id, 'state')
    if not state then
      redis.call('ZREM', p .. ':due', id)
    elseif state == 'sending' or state == 'committing' then
      if is_due(id) then recover(id, max_lost, doubt) else redis.call('ZADD', p .. ':due', number(id, 'due'), id) end
    end
    if is_waiting(get(id, 'state')) and get(id, 'due') and is_due(id) and not expire(id) then
      enter(id, 'queued', now + grace)
      answer[#answer + 1] = { id, get(id, 'priority') or 'normal', number(id, 'lost') }
    end
  end
  return done(answer)
end

-- What is being sent, few at any time. -> of each id, state, when it entered that
local function in_hand()
  local answer, seen = {}, {}
  for _, name in ipairs({ 'sending', 'committing' }) do
    for _, id in ipairs(redis.call('ZRANGE', p .. ':state:' .. name, 0, -1)) do
      local found = not seen[id] and redis.call('HMGET', key(id), 'state', 'updated')
      if found and (found[1] == 'sending' or found[1] == 'committing') then
        answer[#answer + 1] = { id, found[1], found[2] }
      end
      seen[id] = true
    end
  end
  return answer
end

if operation == 'in_hand' then return in_hand() end

-- Many: state. -> how many messages are in each
if operation == 'counts' then
  local counts, answer = { sending = 0, committing = 0 }, {}
  for _, row in ipairs(in_hand()) do counts[row[2]] = counts[row[2]] + 1 end
  for i = 2, #ARGV do
    answer[i - 1] = counts[ARGV[i]] or redis.call('ZCARD', p .. ':state:' .. ARGV[i])
  end
  return answer
end

-- A worker's timer says that it lives. Those that have been silent for a day are forgotten.
if operation == 'beat' then
  redis.call('ZADD', p .. ':workers', now, ARGV[2])
  redis.call('ZREMRANGEBYSCORE', p .. ':workers', '-inf', now - 86400000)
  return 1
end

-- Who beat within so many milliseconds, and how many messages are overdue by more than that.
if operation == 'pulse' then
  return { redis.call('ZRANGEBYSCORE', p .. ':workers', now - tonumber(ARGV[2]), '+inf'),
    redis.call('ZCOUNT', p .. ':due', '-inf', now - tonumber(ARGV[3])) }
end

-- Records of that final state that are older than the given age are removed. -> how many
if operation == 'trim' then
  local state, before, limit = ARGV[2], now - tonumber(ARGV[3]), tonumber(ARGV[4])
  if not is_final(state) then return 0 end
  local ids = redis.call('ZRANGEBYSCORE', p .. ':state:' .. state, '-inf', before, 'LIMIT', 0, limit)
  local names = {}
  for i, id in ipairs(ids) do
    if state ~= 'sent' and state ~= 'cancelled' then drop_payload(id) end
    names[i] = key(id)
  end
  for i = 1, #names, 1000 do redis.call('DEL', unpack(names, i, math.min(i + 999, #names))) end
  in_parts('ZREM', p .. ':state:' .. state, ids)
  return #ids
end

-- Many: id, the results as the caller has seen them, the results to begin anew with. An operator
-- asks for another try: recipients that were refused are tried again, those that were served are
-- not, and the schedule begins anew. -> the ids for which that was possible
if operation == 'retry' then
  local states = { failed = true, partial = true, uncertain = true, retrying = true, expired = true }
  local grace, answer = tonumber(ARGV[2]), {}
  for i = 3, #ARGV, 3 do
    local id, seen, anew = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local results = get(id, 'results') or '{}'
    if states[get(id, 'state')] and redis.call('HEXISTS', key(id), 'payload') == 1 and results == seen then
      set(id, 'results', anew)
      set(id, 'tries_from', number(id, 'attempts'))
      set(id, 'lost', 0)
      set(id, 'since', now)
      if is_late(id) then set(id, 'expires', '') end
      enter(id, 'queued', now + grace)
      answer[#answer + 1] = id
    end
  end
  return done(answer)
end

-- What an operator does to messages, each many: id. -> for each id: itself, 1 where it was changed,
-- and the state that it is in now ('' where there is none of that id); asking twice changes nothing
-- more.
local function change(may_be_changed, act)
  local answer = {}
  for i = 2, #ARGV do
    local id = ARGV[i]
    local state = get(id, 'state')
    local changes = may_be_changed[state]
    if changes then act(id, state) end
    answer[i - 1] = { id, changes and 1 or 0, get(id, 'state') or '' }
  end
  return done(answer)
end

-- Nobody looks at them any more until `resume`, `cancel` or `discard`.
if operation == 'hold' then
  local states = { queued = true, retrying = true, scheduled = true, uncertain = true }
  return change(states, function(id, state)
    set(id, 'held_from', state)
    set(id, 'held_due', get(id, 'due') or '')
    enter(id, 'held')
  end)
end

-- They go to the queue; but what was scheduled doesn't leave before its time, and what may have been
-- sent already is as uncertain as before.
if operation == 'resume' then
  return change({ held = true }, function(id)
    local from, due = get(id, 'held_from'), tonumber(get(id, 'held_due'))
    set(id, 'held_from', '')
    set(id, 'held_due', '')
    if from == 'uncertain' or (from == 'scheduled' and due > now) then
      enter(id, from, due)
    else
      enter(id, 'queued', now)
    end
  end)
end

-- They are never sent (again). What is being sent can't be stopped.
if operation == 'cancel' then
  local states = { queued = true, retrying = true, scheduled = true, uncertain = true, held = true }
  return change(states, function(id) enter(id, 'cancelled') end)
end

-- Record and payload are removed; only the totals tell that there was a message.
if operation == 'discard' then
  local states = { failed = true, partial = true, expired = true, held = true, uncertain = true }
  return change(states, function(id, state)
    drop_payload(id)
    redis.call('DEL', key(id))
    leave(id, state)
    redis.call('ZREM', p .. ':due', id)
    records[id], changes[id] = { state = false }, nil
    redis.call('HINCRBY', p .. ':totals', 'discarded', 1)
  end)
end

return redis.error_reply('ERR unknown journal operation ' .. tostring(operation))
