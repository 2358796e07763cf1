-- Count an error that nobody can explain, and that kept a claimed message from being sent. It
-- counts against the message where the worker has sent another one since the message's last such
-- error, or since it was accepted: `idle` ago, -1 for never. Where the claim is stale, nothing is
-- counted.
--
-- fault(id, token, idle)
--   -> faults, counted
if operation == 'fault' then
  local id, token, idle = ARGV[2], ARGV[3], tonumber(ARGV[4])
  if holds(id, token) then
    local since = tonumber(get(id, 'faulted') or get(id, 'since') or get(id, 'created'))
    if idle >= 0 and now - idle >= since then set(id, 'counted', number(id, 'counted') + 1) end
    set(id, 'faults', number(id, 'faults') + 1)
    set(id, 'faulted', now)
  end
  return done({ number(id, 'faults'), number(id, 'counted') })
end
