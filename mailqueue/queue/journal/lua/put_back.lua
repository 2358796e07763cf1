-- Make those messages that are queued due at once; `queued` counts them. A task brought them to a
-- worker that can't use its mailer now. As soon as one can, the timer has to find them.
--
-- put_back([id]…)
--   -> queued
if operation == 'put_back' then
  local queued = 0
  for i = 2, #ARGV do
    local id = ARGV[i]
    if get(id, 'state') == 'queued' then
      enter(id, 'queued', now)
      queued = queued + 1
    end
  end
  return done(queued)
end
