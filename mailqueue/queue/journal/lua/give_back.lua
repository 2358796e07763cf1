-- Hand a claim back, at no cost to the message: it wasn't tried, or the server said of itself that
-- it can't take it now. Where the claim is stale, nothing happens.
--
-- give_back(id, token, delay, reply)
--   -> given_back
if operation == 'give_back' then
  local id, token, delay, reply = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
  if not holds(id, token) then return 0 end
  set(id, 'attempts', number(id, 'attempts') - 1)
  if reply ~= '' then set(id, 'reply', reply) end
  enter(id, delay > 0 and 'retrying' or 'queued', now + delay)
  return done(1)
end
