-- Claim messages by their ids. `digest` is that of the payload in hand, '' for none; the answer has
-- the payload where that isn't the right one, else ''. Of each that is now the caller's it says too
-- how often it has `lost` a worker. A message that has lost one is claimed alone, so that it can't
-- take others with it. Then fewer are looked at than were asked for, and the caller asks again for
-- the rest.
--
-- claim(lease, nonce, max_lost, doubt, [id, digest]…)
--   -> looked_at, {id, token, attempt, tries, age, results, payload, lost}…
if operation == 'claim' then
  local lease, nonce, max_lost, doubt =
    tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
  local looked_at = 0
  for i = 6, #ARGV, 2 do
    local id, digest = ARGV[i], ARGV[i + 1]
    if not records[id] then look(id, 'digest') end
    local state = get(id, 'state')
    if (state == 'sending' or state == 'committing') and is_due(id) then
      recover(id, max_lost, doubt)
      state = get(id, 'state')
    end
    local may_go = state == 'queued' or (is_waiting(state) and get(id, 'due') and is_due(id))
    if may_go and not expire(id) then
      local suspect = number(id, 'lost') > 0
      if suspect and #claims > 0 then break end
      note_claim(id, digest, lease)
      looked_at = looked_at + 1
      if suspect then break end
    else
      looked_at = looked_at + 1
    end
  end
  return carry_out(looked_at, lease, nonce)
end
