-- Note that a worker's timer lives, and what it says of its worker: JSON, `queues` that it takes
-- tasks from, `mailers` that it uses. Those that have been silent for a day are forgotten.
--
-- beat(worker, facts)
--   -> 1
if operation == 'beat' then
  local worker, facts = ARGV[2], ARGV[3]
  redis.call('ZADD', p .. ':workers', now, worker)
  redis.call('HSET', p .. ':beats', worker, facts)
  local silent = redis.call('ZRANGEBYSCORE', p .. ':workers', '-inf', now - 86400000)
  for _, name in ipairs(silent) do
    redis.call('ZREM', p .. ':workers', name)
    redis.call('HDEL', p .. ':beats', name)
  end
  return 1
end
