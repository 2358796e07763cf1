-- Tell which workers' timers lived lately, and how many messages are overdue by more than that.
--
-- pulse(alive_within, overdue_by)
--   -> {[worker]…}, overdue
if operation == 'pulse' then
  local alive_within, overdue_by = tonumber(ARGV[2]), tonumber(ARGV[3])
  return { redis.call('ZRANGEBYSCORE', p .. ':workers', now - alive_within, '+inf'),
    redis.call('ZCOUNT', p .. ':due', '-inf', now - overdue_by) }
end
