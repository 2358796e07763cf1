-- Tell which workers' timers lived within `alive_within`, how long ago each beat last, and what it
-- said. Tell too how many messages could be sent by now, and for how long the oldest of them could
-- have been; how long ago the last claim was, and the last result; how many are being sent, and for
-- how long the oldest of them has been in its state. -1 is never, or none.
--
-- pulse(alive_within)
--   -> {{worker, age, facts}…}, waiting, oldest, claimed, settled, in_hand, longest
if operation == 'pulse' then
  local alive_within = tonumber(ARGV[2])
  local workers, oldest, settled, longest = {}, -1, -1, -1
  -- A beat of a time to come is one from before the clock was put back.
  local found = redis.call('ZRANGEBYSCORE', p .. ':workers', now - alive_within, now + alive_within,
    'WITHSCORES')
  for i = 1, #found, 2 do
    local facts = redis.call('HGET', p .. ':beats', found[i]) or ''
    workers[#workers + 1] = { found[i], math.max(now - tonumber(found[i + 1]), 0), facts }
  end
  local function age(since) return since and math.max(math.floor(now - tonumber(since)), 0) or -1 end
  -- What waits for its time is due as well, where no timer has queued it then.
  local queued = redis.call('ZRANGE', p .. ':state:queued', 0, 0, 'WITHSCORES')
  local due = redis.call('ZRANGEBYSCORE', p .. ':due', '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
  local waiting = math.max(redis.call('ZCARD', p .. ':state:queued'),
    redis.call('ZCOUNT', p .. ':due', '-inf', now))
  oldest = math.max(age(queued[2]), age(due[2]))
  for _, state in ipairs({ 'sent', 'partial', 'failed', 'retrying' }) do
    local newest = age(redis.call('ZRANGE', p .. ':state:' .. state, -1, -1, 'WITHSCORES')[2])
    if newest >= 0 and (settled < 0 or newest < settled) then settled = newest end
  end
  local in_hand = being_sent()
  for _, row in ipairs(in_hand) do longest = math.max(longest, age(row[3])) end
  local claimed = age(redis.call('GET', p .. ':claimed'))
  return { workers, waiting, oldest, claimed, settled, #in_hand, longest }
end
