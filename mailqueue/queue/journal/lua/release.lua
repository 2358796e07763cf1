-- Queue what is due. The answer is those for which a task should be published, with how often each
-- has `lost` a worker. Each is looked at again after `regrace`, in case that task gets lost. Within
-- `tick` (0: always) only the first of all who ask gets any.
--
-- release(tick, limit, regrace, max_lost, doubt)
--   -> {id, priority, lost}…
if operation == 'release' then
  local tick, limit, regrace, max_lost, doubt =
    tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  local answer = {}
  if tick > 0 then
    local since = now - (redis.call('HGET', p .. ':clock', 'ticked') or 0)
    if since >= 0 and since <= tick then return answer end
    redis.call('HSET', p .. ':clock', 'ticked', now)
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. ':due', '-inf', sure, 'LIMIT', 0, limit)) do
    local found = redis.call('HMGET', key(id), 'state', 'due', 'expires', 'lost', 'priority')
    records[id] = { state = found[1], due = found[2], expires = found[3], lost = found[4],
      priority = found[5] }
    local state = get(id, 'state')
    if not state then
      redis.call('ZREM', p .. ':due', id)
    elseif state == 'sending' or state == 'committing' then
      if is_due(id) then
        recover(id, max_lost, doubt)
      else
        redis.call('ZADD', p .. ':due', number(id, 'due'), id)
      end
    end
    if is_waiting(get(id, 'state')) and get(id, 'due') and is_due(id) and not expire(id) then
      enter(id, 'queued', now + regrace)
      if get(id, 'priority') == 'high' then redis.call('RPUSH', p .. ':joined:high', id) end
      answer[#answer + 1] = { id, get(id, 'priority') or 'normal', number(id, 'lost') }
    end
  end
  return done(answer)
end
