-- The journal's clock: the server's, but for its steps. A worker's timer compares that with its own
-- every second, and evens a step out by `offset` (set_clock.lua). Until it has done so, the times
-- below hold.

local time = redis.call('TIME')
local server_time = time[1] * 1000 + math.floor(time[2] / 1000)
local clock = redis.call('HMGET', p .. ':clock', 'offset', 'seen')
local offset, seen = tonumber(clock[1] or 0), tonumber(clock[2] or 0)

-- What is written is written with `now`, which never goes back behind what a timer has seen.
local now = math.max(server_time + offset, seen)

-- What can't be undone is decided by `sure`: until then time has passed, whatever the clock says. A
-- clock that is further than this ahead of all timers has stepped, or there is no timer.
local UNSEEN = 5000
local sure = (seen == 0 or now - seen <= UNSEEN) and now or seen

-- Whether the newest task of a priority is known to wait in the broker.
local WAITS = 1000
local function waits(task)
  local left = (redis.call('HGET', task, 'until') or 0) - now
  return left >= 0 and left <= WAITS
end
