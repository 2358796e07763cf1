-- The results that `advance` left: with replies to keep, attachments to drop or a lease that has
-- ended.

if operation == 'advance' then
  -- Whether the claim's lease has ended, and nobody has claimed or settled the message since: a
  -- result that its worker kept until the journal was back still counts, and spares a second copy.
  -- What is held meanwhile takes only a result that ends it: the rest would undo the hold.
  local function unclaimed_since(id, token, result)
    local state = get(id, 'state')
    local waits = state == 'uncertain' or state == 'queued'
      or (state == 'held' and is_final(result))
    return waits and get(id, 'left_token') == token and number(id, 'lost') > 0
  end

  local function settle(id, token, state, delay, results, line)
    if not holds(id, token) then
      if not unclaimed_since(id, token, state) then
        return get(id, 'state') == state and get(id, 'token') == token and 1 or 0
      end
      set(id, 'token', token)
    end
    set(id, 'results', results)
    set(id, 'reply', '')
    set(id, 'lost', 0)
    if get(id, 'faults') then forgive(id) end
    if get(id, 'state') == 'held' then
      set(id, 'held_from', '')
      set(id, 'held_due', '')
    end
    -- Some recipients are left for the next transaction, which belongs to the same try.
    if state == 'queued' then set(id, 'tries_from', number(id, 'tries_from') + 1) end
    note(id, line)
    delay = tonumber(delay)
    enter(id, state, delay >= 0 and now + delay)
    return 1
  end

  for n = 1, tonumber(ARGV[3]) do
    recorded[n] = recorded[n] or settle(unpack(ARGV, 6 * n - 2, 6 * n + 3))
  end
  return done(recorded)
end
