-- Take messages. Each is known from now on by the id of the answer: its own, or that of the message
-- which has its idempotency key already. It needs a task where it is new, isn't scheduled, and
-- joins no task that waits, each of which has `room` for others. Where an attachment isn't stored,
-- the answer is the names of those that are missing, and nothing is accepted. `is_first` says that
-- this journal had never accepted a message before: it is new, or was emptied.
--
-- `send_at` is 0 for now, `expires` 0 for never; both are on the clock of the caller, for which it is
-- `theirs`. `same` is the SHA-256 of the idempotency key, ''
-- for none. `blobs` are the names of large attachments. A call has some thousand messages at most:
-- Lua has no room for more arguments.
--
-- accept(grace, same_within, room, theirs,
--     [id, payload, digest, summary, send_at, expires, same, blobs, priority]…)
--   -> [id, needs_task]…, is_first or 'missing', [name]…
if operation == 'accept' then
  local grace, same_within, room, theirs =
    tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local answer, missing, new, named, queued, dues = {}, nil, 0, {}, {}, {}
  -- With microseconds and, for those of one call, a fraction of these: the order in which they came.
  local came = now + time[2] % 1000 / 1000
  -- Clocks differ a little, and then a time means the same on both. Where they differ by more, one of
  -- them is wrong, and how long there is until then is what both understand.
  local ahead = now - theirs
  if math.abs(ahead) <= UNSEEN then ahead = 0 end
  for i = 6, #ARGV, 9 do
    if ARGV[i + 7] ~= '' then
      for name in string.gmatch(ARGV[i + 7], '%x+') do
        if redis.call('EXISTS', p .. ':blob:' .. name) == 0 then
          missing = missing or { 'missing' }
          missing[#missing + 1] = name
        end
      end
    end
  end
  if missing then return missing end

  -- Whether a task that is known to wait takes that message along; if there is none, the caller is
  -- to publish one. A task that was lost keeps nobody from that for longer than a second.
  local function joins(id, priority)
    if room < 1 then return false end
    local task = p .. ':task:' .. priority
    if waits(task) and redis.call('HINCRBY', task, 'has', 1) <= room + 1 then return true end
    redis.call('HSET', task, 'names', id, 'has', 1, 'until', now + WAITS)
    redis.call('PEXPIRE', task, WAITS) -- for earlier versions, which know no `until`
    return false
  end

  -- The id of the message that stands for the key; that of the new one where there is none.
  local function known_by(same, id)
    local known = same and redis.call('GET', same) or id
    local created = known ~= id and redis.call('HGET', p .. ':message:' .. known, 'created')
    return created and now - created > same_within and id or known
  end

  for i = 6, #ARGV, 9 do
    local id, payload, digest, summary, send_at, expires, same, blobs, priority =
      unpack(ARGV, i, i + 8)
    send_at, expires = tonumber(send_at) + ahead, tonumber(expires)
    if expires > 0 then expires = expires + ahead end
    same = same ~= '' and p .. ':same:' .. same
    local known = known_by(same, id)
    if redis.call('EXISTS', p .. ':message:' .. known) == 1 then
      answer[#answer + 1] = known
      answer[#answer + 1] = 0
    else
      local state, due, name = 'queued', now + grace, p .. ':message:' .. id
      if send_at > now then state, due = 'scheduled', send_at end
      if expires > 0 and expires < due then due = expires end
      -- First: a server that is full refuses this, and then the whole script; later it would not.
      redis.call('HSET', name, 'state', state, 'due', due, 'created', now, 'payload', payload,
        'digest', digest, 'summary', summary)
      if priority ~= 'normal' then redis.call('HSET', name, 'priority', priority) end
      if expires > 0 then redis.call('HSET', name, 'expires', expires) end
      if blobs ~= '' then
        redis.call('HSET', name, 'blobs', blobs)
        for blob in string.gmatch(blobs, '%x+') do
          redis.call('PERSIST', p .. ':blob:' .. blob)
          redis.call('HINCRBY', p .. ':blobs', blob, 1)
        end
      end
      -- The server forgets it by its own clock, which may step by a day.
      if same then redis.call('SET', same, id, 'PX', same_within + 86400000) end
      if state == 'queued' then
        queued[#queued + 1] = came + new / 4096
        queued[#queued + 1] = id
      else
        redis.call('ZADD', p .. ':state:scheduled', now, id)
      end
      dues[2 * new + 1], dues[2 * new + 2] = due, id
      new = new + 1
      if send_at <= now then
        -- Where one of them needs a task, that names those after it too.
        if not named[priority] then named[priority] = not joins(id, priority) end
        -- Also what a new task names: one that runs may come to it before that begins. What is urgent
        -- is looked for by every task after each message.
        if room > 0 or priority == 'high' then redis.call('RPUSH', p .. ':joined:' .. priority, id) end
      end
      answer[#answer + 1] = id
      answer[#answer + 1] = send_at <= now and named[priority] and 1 or 0
    end
  end
  local is_first = 0
  if new > 0 then
    if #queued > 0 then redis.call('ZADD', p .. ':state:queued', unpack(queued)) end
    redis.call('ZADD', p .. ':due', unpack(dues))
    if redis.call('HINCRBY', p .. ':totals', 'accepted', new) == new then is_first = 1 end
  end
  answer[#answer + 1] = is_first
  return answer
end
