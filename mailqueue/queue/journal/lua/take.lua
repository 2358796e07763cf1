-- Claim messages that joined a task: oldest first, high priority before low, `limit` of them at
-- most. The task that `begins` with that message (if not '') waits no more. `left` counts those for
-- which no other task is known to wait; some of them may have been claimed by their ids. Only the
-- first `levels` priorities are looked at.
--
-- take(lease, nonce, limit, begins, levels)
--   -> left, {id, token, attempt, tries, age, results, payload, lost}…
if operation == 'take' then
  local lease, nonce, limit, begins, levels =
    tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
  local looked_at, left = 0, 0
  for level = 1, levels do
    local priority = priorities[level]
    local joined, task = p .. ':joined:' .. priority, p .. ':task:' .. priority
    if begins ~= '' and redis.call('HGET', task, 'names') == begins then redis.call('DEL', task) end
    while #claims < limit and looked_at < 1000 do
      local id = redis.call('LPOP', joined)
      if not id then break end
      looked_at = looked_at + 1
      if not records[id] then look(id, 'payload') end
      -- What was held, or cancelled, or claimed by its id meanwhile, goes its own way.
      if get(id, 'state') == 'queued' and number(id, 'lost') == 0 and not expire(id) then
        note_claim(id, '', lease)
      end
    end
    local more = redis.call('LLEN', joined)
    if more > 0 and not waits(task) then left = left + more end
  end
  return carry_out(left, lease, nonce)
end
