-- What the commands of an operator have in common. Of each id the answer says whether it was
-- changed, and the state that it is in now ('' where there is none of that id). Asking twice
-- changes nothing more.
local function change(may_be_changed, act)
  local answer = {}
  for i = 2, #ARGV do
    local id = ARGV[i]
    local state = get(id, 'state')
    local changed = may_be_changed(state)
    if changed then act(id, state) end
    answer[i - 1] = { id, changed and 1 or 0, get(id, 'state') or '' }
  end
  return done(answer)
end
