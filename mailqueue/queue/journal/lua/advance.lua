-- A worker's step from some messages to the next. The first ids have a result, `count` of them; the
-- claims after these are those whose end goes out next. A result counts as recorded also when it
-- was before. Where a claim is stale, nothing is recorded and the end must not be sent.
--
-- The ordinary result is recorded here: sent, by the claim that holds, with nothing else to undo.
-- All others are left to settle.lua.
--
-- `urgent` counts the priorities, from the highest on, of which something joined a task and is more
-- urgent than the last of the claims: `take` has it.
--
-- advance(reply_wait, count, [id, token, state, delay, results, line]…, [id, token]…)
--   -> [recorded]…, [may_commit]…, urgent
if operation == 'advance' then
  local reply_wait, count = tonumber(ARGV[2]), tonumber(ARGV[3])
  local due, commits, answers, unusual = now + reply_wait, 4 + 6 * count, 0, false
  recorded = {}
  for i = 4, commits - 1, 6 do
    local id, token, state, delay, results, line = unpack(ARGV, i, i + 5)
    local name = p .. ':message:' .. id
    local found = redis.call('HMGET', name, 'state', 'token', 'attempts', 'lost', 'blobs', 'reply')
    answers = answers + 1
    if state == 'sent' and found[2] == token and (found[1] == 'committing' or found[1] == 'sending')
        and (found[4] or '0') == '0' and not found[5] and (found[6] or '') == '' then
      if redis.call('ZREM', p .. ':state:sending', id) == 0 then
        redis.call('ZREM', p .. ':state:committing', id)
      end
      redis.call('ZREM', p .. ':due', id)
      redis.call('HSET', name, 'state', 'sent', 'updated', now, 'due', '', 'payload', '',
        'results', results, 'log:' .. found[3], now .. ' ' .. line)
      redis.call('ZADD', p .. ':state:sent', now, id)
      redis.call('HINCRBY', p .. ':totals', 'sent', 1)
      recorded[answers] = 1
    else
      recorded[answers], unusual = false, true
    end
  end
  -- A server that is full refuses a first write that may need room, and takes all that follows one
  -- that doesn't. This does nothing.
  if count == 0 or unusual then redis.call('PERSIST', p .. ':totals') end
  local priority = 'high'
  for i = commits, #ARGV, 2 do
    local id, token = ARGV[i], ARGV[i + 1]
    local name = p .. ':message:' .. id
    local found = redis.call('HMGET', name, 'state', 'token', 'due', 'priority')
    priority = found[4] or 'normal'
    answers = answers + 1
    if found[2] == token and (found[1] == 'sending' or found[1] == 'committing') then
      redis.call('HSET', name, 'state', 'committing', 'updated', now, 'due', due)
      if due < (tonumber(found[3]) or due) then redis.call('ZADD', p .. ':due', due, id) end
      recorded[answers] = 1
    else
      recorded[answers] = 0
    end
  end
  local urgent = 0
  for level, more_urgent in ipairs(priorities) do
    if more_urgent == priority then break end
    if redis.call('LLEN', p .. ':joined:' .. more_urgent) > 0 then urgent = level end
  end
  recorded[answers + 1] = urgent
  if not unusual then return recorded end
end
