-- List the alarms that are on; those that are over are forgotten.
--
-- alarms()
--   -> {source, reason}…
if operation == 'alarms' then
  local name, answer = p .. ':alarms', {}
  local found = redis.call('HGETALL', name)
  for i = 1, #found, 2 do
    local till, reason = string.match(found[i + 1], '^(%d+) (.*)$')
    if tonumber(till) > now then
      answer[#answer + 1] = { found[i], reason }
    else
      redis.call('HDEL', name, found[i])
    end
  end
  return answer
end
