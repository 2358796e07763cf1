-- Have people told of what keeps a worker from sending, for `kept`, or no longer where that is 0.
--
-- alarm(source, kept, reason)
--   -> 1
if operation == 'alarm' then
  local source, kept, reason = ARGV[2], tonumber(ARGV[3]), ARGV[4]
  local name = p .. ':alarms'
  if kept == 0 then
    redis.call('HDEL', name, source)
  else
    redis.call('HSET', name, source, (now + kept) .. ' ' .. reason)
  end
  return 1
end
