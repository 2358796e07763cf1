-- Claims, as `claim` and `take` make them: noted one by one, then carried out together.

-- What a claim needs, read at once.
local function look(id, also)
  local found = redis.call('HMGET', key(id), 'state', 'attempts', 'lost', 'expires', 'since',
    'created', also)
  records[id] = { state = found[1], attempts = found[2], lost = found[3], expires = found[4],
    since = found[5], created = found[6], [also] = found[7] }
end

-- The claims, of each what the answer says of it, and the state that the message was in.
local claims, were = {}, {}

-- Note a claim, to be carried out by `carry_out`.
local function note_claim(id, digest, lease)
  local attempt, tries_from, results = number(id, 'attempts') + 1, 0, '{}'
  -- Before the first attempt there is none of these.
  if attempt > 1 then
    tries_from, results = number(id, 'tries_from'), get(id, 'results') or results
    if get(id, 'left_token') then set(id, 'left_token', '') end
  end
  claims[#claims + 1] = { id, 0, attempt, attempt - tries_from,
    now - tonumber(get(id, 'since') or get(id, 'created')), results,
    get(id, 'digest') ~= digest and get(id, 'payload') or '', number(id, 'lost') }
  were[#claims] = get(id, 'state')
  records[id].state, records[id].due = 'sending', now + lease
end

-- Lua has room for some thousands of arguments.
local function in_parts(command, name, list)
  for i = 1, #list, 1000 do redis.call(command, name, unpack(list, i, math.min(i + 999, #list))) end
end

-- Carry out the claims, and write what else has changed. A server that is full refuses the first
-- write, and then all. Returns the operation's answer: `first`, then the claims.
--
-- A token is the counter with the digits of `nonce` after it. A server that crashes may forget its
-- last second, and count from an earlier number. Two claims must not have one token even then.
local function carry_out(first, lease, nonce)
  local answer, count, due, queued, entered, dues = { first }, #claims, now + lease, {}, {}, {}
  if count == 0 then return done(answer) end
  local token = redis.call('INCRBY', p .. ':fence', count) - count
  redis.call('SET', p .. ':claimed', now)
  done()
  for i, row in ipairs(claims) do
    local id = row[1]
    row[2] = token + i .. nonce
    redis.call('HSET', key(id), 'state', 'sending', 'token', row[2], 'attempts', row[3],
      'updated', now, 'due', due)
    if were[i] == 'queued' then queued[#queued + 1] = id else leave(id, were[i]) end
    entered[2 * i - 1], entered[2 * i] = now, id
    dues[2 * i - 1], dues[2 * i] = due, id
    answer[i + 1] = row
  end
  in_parts('ZREM', p .. ':state:queued', queued)
  in_parts('ZADD', p .. ':state:sending', entered)
  in_parts('ZADD', p .. ':due', dues)
  return answer
end
