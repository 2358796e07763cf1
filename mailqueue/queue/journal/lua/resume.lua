-- Queue what is held. But what was scheduled doesn't leave before its time, and what may have been
-- sent already is as uncertain as before.
--
-- resume([id]…)
--   -> {id, changed, state}…
if operation == 'resume' then
  local function is_held(state) return state == 'held' end
  return change(is_held, function(id)
    local from, due = get(id, 'held_from'), tonumber(get(id, 'held_due'))
    set(id, 'held_from', '')
    set(id, 'held_due', '')
    if from == 'uncertain' or (from == 'scheduled' and due > sure) then
      enter(id, from, due)
    else
      enter(id, 'queued', now)
    end
  end)
end
