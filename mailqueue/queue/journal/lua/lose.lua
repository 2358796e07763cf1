-- Note that the process which has the message in hand ends now: it counts as lost, as though its
-- lease had ended. Where the claim is stale, nothing happens.
--
-- lose(id, token, reason, max_lost, doubt)
--   -> lost
if operation == 'lose' then
  local id, token, reason, max_lost, doubt =
    ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
  if not holds(id, token) then return 0 end
  recover(id, max_lost, doubt, reason)
  return done(1)
end
