-- What has its time: messages that are due or too late, and claims whose lease has ended.

local function is_due(id) return number(id, 'due') <= sure end

local function is_late(id)
  local expires = get(id, 'expires')
  return expires and tonumber(expires) <= now
end

-- Whether the message is too late by now. Then it is expired and never sent; one that may have been
-- sent already waits for a person instead. Where it isn't sure, the timer will know.
local function expire(id)
  if not is_late(id) then return false end
  if number(id, 'expires') > sure then return true end
  if get(id, 'doubted') then
    enter(id, 'uncertain')
  else
    set(id, 'reply', 'expired before it could be sent')
    enter(id, 'expired')
  end
  return true
end

-- A claim whose lease has ended, or whose process ends for that `why`. Before the commit nothing can
-- have been sent; after it, it may have.
local function recover(id, max_lost, doubt, why)
  local committed = get(id, 'state') == 'committing'
  local reason = why or committed
    and 'the worker vanished after the final dot, before the reply was recorded'
    or 'the worker vanished while sending'
  set(id, 'lost', number(id, 'lost') + 1)
  set(id, 'reply', reason)
  set(id, 'left_token', get(id, 'token'))
  set(id, 'token', '')
  if committed then set(id, 'doubted', 1) end
  local next_state, due = 'queued', now
  if number(id, 'lost') >= max_lost then
    next_state, due = 'failed', nil
  elseif committed then
    next_state, due = 'uncertain', doubt >= 0 and now + doubt or nil
  end
  note(id, cjson.encode({ state = next_state, reply = reason }))
  enter(id, next_state, due)
end
