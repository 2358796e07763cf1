-- Note that a worker's timer lives. Those that have been silent for a day are forgotten.
--
-- beat(worker)
--   -> 1
if operation == 'beat' then
  local worker = ARGV[2]
  redis.call('ZADD', p .. ':workers', now, worker)
  redis.call('ZREMRANGEBYSCORE', p .. ':workers', '-inf', now - 86400000)
  return 1
end
