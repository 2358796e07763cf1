-- A message's record: its fields read and written, and what goes with a change of its state.

local function key(id) return p .. ':message:' .. id end

-- Fields are read when they are asked for, or, where that is often, at once before. What changes is
-- written at once, by `done`.
local records, changes = {}, {}

-- False where there is none: an empty value is the same as none, and cheaper than its removal.
local function get(id, field)
  local found = records[id]
  if not found then
    found = {}
    records[id] = found
  end
  local value = found[field]
  if value == nil then
    value = redis.call('HGET', key(id), field)
    found[field] = value
  end
  return value ~= '' and value
end

local function number(id, field) return tonumber(get(id, field) or 0) end

local function set(id, field, value)
  if not records[id] then records[id] = {} end
  records[id][field] = value
  local changed = changes[id]
  if not changed then
    changed = {}
    changes[id] = changed
  end
  changed[#changed + 1] = field
  changed[#changed + 1] = value
end

-- Write what has changed; to be called once, with the operation's answer.
local function done(answer)
  for id, changed in pairs(changes) do redis.call('HSET', key(id), unpack(changed)) end
  return answer
end

-- The payload goes, and with its last message a large attachment.
local function drop_payload(id)
  for name in string.gmatch(get(id, 'blobs') or '', '%x+') do
    if redis.call('HINCRBY', p .. ':blobs', name, -1) < 1 then
      redis.call('HDEL', p .. ':blobs', name)
      redis.call('DEL', p .. ':blob:' .. name)
    end
  end
  if get(id, 'blobs') then set(id, 'blobs', '') end
  set(id, 'payload', '')
end

-- What is committing stays in the set of what is sending, so that a commit writes to its hash only;
-- but earlier versions had a set for it.
local function leave(id, state)
  local name = p .. ':state:' .. (state == 'committing' and 'sending' or state)
  if redis.call('ZREM', name, id) == 0 and state == 'committing' then
    redis.call('ZREM', p .. ':state:committing', id)
  end
end

-- The only place where a state changes, but for what is ordinary: accepted, claimed, committed,
-- sent. Without a due time nobody looks at the message again. What waits is looked at when it
-- expires, if that is earlier.
local function enter(id, state, due)
  local expires = due and is_waiting(state) and tonumber(get(id, 'expires'))
  if expires and expires < due then due = expires end
  -- What is queued once more, for the next task, keeps its place: it has waited since it was first.
  local stays = state == 'queued' and get(id, 'state') == state
  if not stays then
    leave(id, get(id, 'state'))
    redis.call('ZADD', p .. ':state:' .. state, now, id)
    set(id, 'updated', now)
  end
  if due then redis.call('ZADD', p .. ':due', due, id) else redis.call('ZREM', p .. ':due', id) end
  set(id, 'state', state)
  set(id, 'due', due or '')
  if is_final(state) then redis.call('HINCRBY', p .. ':totals', state, 1) end
  if state == 'uncertain' then set(id, 'doubted', 1) end
  if state == 'sent' or state == 'cancelled' then drop_payload(id) end
end

-- Count its faults anew.
local function forgive(id)
  set(id, 'faults', 0)
  set(id, 'counted', 0)
  set(id, 'faulted', '')
end

local function note(id, text) set(id, 'log:' .. number(id, 'attempts'), now .. ' ' .. text) end

-- Whether that claim still has the message.
local function holds(id, token)
  local state = get(id, 'state')
  return (state == 'sending' or state == 'committing') and get(id, 'token') == token
end
