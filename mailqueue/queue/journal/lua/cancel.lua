-- End what waits or is held: it is never sent (again). What is being sent can't be stopped.
--
-- cancel([id]…)
--   -> {id, changed, state}…
if operation == 'cancel' then
  local function may_end(state) return is_waiting(state) or state == 'held' end
  return change(may_end, function(id) enter(id, 'cancelled') end)
end
