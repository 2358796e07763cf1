-- Remove records that entered that final state longer ago than `older_than`, `limit` at most. None
-- is removed where the state isn't final.
--
-- trim(state, older_than, limit)
--   -> removed
if operation == 'trim' then
  local state, older_than, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
  if not is_final(state) then return 0 end
  local ids = redis.call('ZRANGEBYSCORE', p .. ':state:' .. state, '-inf', sure - older_than,
    'LIMIT', 0, limit)
  local names = {}
  for i, id in ipairs(ids) do
    if state ~= 'sent' and state ~= 'cancelled' then drop_payload(id) end
    names[i] = key(id)
  end
  for i = 1, #names, 1000 do redis.call('DEL', unpack(names, i, math.min(i + 999, #names))) end
  in_parts('ZREM', p .. ':state:' .. state, ids)
  return #ids
end
