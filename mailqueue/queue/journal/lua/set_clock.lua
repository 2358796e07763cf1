-- Note that a timer has found the server's clock right at that time, with this offset from now on.
-- Where another timer has changed the offset `was` meanwhile, nothing happens.
--
-- set_clock(server_then, was, becomes)
--   -> is_set
if operation == 'set_clock' then
  local server_then, was, becomes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  if offset ~= was then return 0 end
  redis.call('HSET', p .. ':clock', 'offset', becomes, 'seen', server_then + becomes)
  local step, real = was - becomes, server_time + becomes
  if step <= 0 then return 1 end

  -- The clock stepped forward, and what was written since then has times that are yet to come.
  local function correct(id, field)
    local value = number(id, field)
    if value > real then set(id, field, value - step) end
  end

  local function take_back(id, state)
    local entered, expires, due = get(id, 'updated') or get(id, 'created'), get(id, 'expires'), get(id, 'due')
    if tonumber(entered) <= real then return end
    if number(id, 'created') > real and expires then set(id, 'expires', expires - step) end
    for _, field in ipairs({ 'created', 'since', 'updated', 'faulted' }) do correct(id, field) end
    redis.call('ZADD', p .. ':state:' .. state, entered - step, id)
    if not due then return end
    -- What has to be looked at because it expires then, does so as before.
    set(id, 'due', due == expires and get(id, 'expires') or due - step)
    redis.call('ZADD', p .. ':due', get(id, 'due'), id)
  end

  for _, state in ipairs({ 'queued', 'scheduled', 'retrying', 'uncertain', 'held', 'sent', 'partial',
      'failed', 'cancelled', 'expired' }) do
    local name = p .. ':state:' .. state
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', name, '(' .. real, '+inf')) do
      take_back(id, state)
    end
  end
  local claimed = tonumber(redis.call('GET', p .. ':claimed') or 0)
  if claimed > real then redis.call('SET', p .. ':claimed', real) end
  -- A commit changes no score.
  for _, row in ipairs(being_sent()) do take_back(row[1], 'sending') end
  return done(1)
end
