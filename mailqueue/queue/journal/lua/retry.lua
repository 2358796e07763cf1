-- An operator asks for another try: recipients that were refused are tried again, those that were
-- served are not, and the schedule begins anew. `seen` is the results as the caller has seen them,
-- `anew` those to begin with. The answer is the ids for which that was possible.
--
-- retry(grace, [id, seen, anew]…)
--   -> [id]…
if operation == 'retry' then
  local grace = tonumber(ARGV[2])
  local states = { failed = true, partial = true, uncertain = true, retrying = true, expired = true }
  local answer = {}
  for i = 3, #ARGV, 3 do
    local id, seen, anew = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local results = get(id, 'results') or '{}'
    local has_payload = redis.call('HEXISTS', key(id), 'payload') == 1
    if states[get(id, 'state')] and has_payload and results == seen then
      set(id, 'results', anew)
      set(id, 'tries_from', number(id, 'attempts'))
      set(id, 'lost', 0)
      forgive(id)
      set(id, 'since', now)
      if is_late(id) then set(id, 'expires', '') end
      enter(id, 'queued', now + grace)
      answer[#answer + 1] = id
    end
  end
  return done(answer)
end
