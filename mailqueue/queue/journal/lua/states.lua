-- Which states are a message's end, and in which it waits for its time. mailqueue/state.py says the
-- same.

local function is_final(state)
  return state == 'sent' or state == 'partial' or state == 'failed' or state == 'cancelled'
    or state == 'expired'
end

local function is_waiting(state)
  return state == 'queued' or state == 'retrying' or state == 'scheduled' or state == 'uncertain'
end
