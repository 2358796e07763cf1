-- Prolong the leases of those claims that still hold; `renewed` counts them.
--
-- renew(lease, [id, token]…)
--   -> renewed
if operation == 'renew' then
  local lease = tonumber(ARGV[2])
  local renewed = 0
  redis.call('PERSIST', p .. ':totals') -- so that a server that is full takes the rest
  for i = 3, #ARGV, 2 do
    local id, token = ARGV[i], ARGV[i + 1]
    if get(id, 'state') == 'sending' and get(id, 'token') == token then
      redis.call('ZADD', p .. ':due', now + lease, id)
      set(id, 'due', now + lease)
      renewed = renewed + 1
    end
  end
  return done(renewed)
end
