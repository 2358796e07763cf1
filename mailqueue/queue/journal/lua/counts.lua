-- Count the messages in each of these states.
--
-- counts([state]…)
--   -> [count]…
if operation == 'counts' then
  local counts, answer = { sending = 0, committing = 0 }, {}
  for _, row in ipairs(being_sent()) do counts[row[2]] = counts[row[2]] + 1 end
  for i = 2, #ARGV do
    local state = ARGV[i]
    answer[i - 1] = counts[state] or redis.call('ZCARD', p .. ':state:' .. state)
  end
  return answer
end
