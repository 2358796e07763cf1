-- Remove record and payload of what has failed, or is held or in doubt. Only the totals tell that
-- there was a message.
--
-- discard([id]…)
--   -> {id, changed, state}…
if operation == 'discard' then
  local states = { failed = true, partial = true, expired = true, held = true, uncertain = true }
  local function may_go(state) return states[state] end
  return change(may_go, function(id, state)
    drop_payload(id)
    redis.call('DEL', key(id))
    leave(id, state)
    redis.call('ZREM', p .. ':due', id)
    records[id], changes[id] = { state = false }, nil
    redis.call('HINCRBY', p .. ':totals', 'discarded', 1)
  end)
end
