-- Keep what waits from being sent. Nobody looks at it any more until `resume`, `cancel` or
-- `discard`.
--
-- hold([id]…)
--   -> {id, changed, state}…
if operation == 'hold' then
  return change(is_waiting, function(id, state)
    set(id, 'held_from', state)
    set(id, 'held_due', get(id, 'due') or '')
    enter(id, 'held')
  end)
end
