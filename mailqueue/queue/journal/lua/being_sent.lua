-- What is being sent, few messages at any time: of each its id, its state, and since when it has
-- that.
local function being_sent()
  local answer, seen = {}, {}
  for _, name in ipairs({ 'sending', 'committing' }) do
    for _, id in ipairs(redis.call('ZRANGE', p .. ':state:' .. name, 0, -1)) do
      local found = not seen[id] and redis.call('HMGET', key(id), 'state', 'updated')
      if found and (found[1] == 'sending' or found[1] == 'committing') then
        answer[#answer + 1] = { id, found[1], found[2] }
      end
      seen[id] = true
    end
  end
  return answer
end
