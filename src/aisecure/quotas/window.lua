-- At most so many in any window, for several limits at once: all are spent from, or none.
-- KEYS: one list of stamps (microseconds of this server's clock, oldest first) for each limit.
-- ARGV: the cost; then for each limit its amount, its period in microseconds, and that in milliseconds plus one:
--   expiry is reckoned in whole milliseconds, and may not come early.
-- Returns 0 when admitted, else which limit takes longest to clear and in how many microseconds.
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local stamp = string.format('%.0f', now)
local cost = tonumber(ARGV[1])

local longest, which = 0, 0
for i = 1, #KEYS do
  local key = KEYS[i]
  local length = call('LLEN', key)
  local short = length + cost - ARGV[3 * i - 1]
  if short > 0 then
    -- So many admissions must have left the window; the youngest of them decides.
    local period = tonumber(ARGV[3 * i])
    local wait = call('LINDEX', key, short - 1) + period - now
    if wait > period then
      -- A stamp from the future: the clock was set back. How long ago it really was is unknown, and taking it
      -- for now is never too generous; leaving it would lock the key out for as long as the clock was wrong.
      call('DEL', key)
      for _ = 1, length do call('RPUSH', key, stamp) end
      call('PEXPIRE', key, ARGV[3 * i + 1])
      wait = period
    end
    if wait > longest then longest, which = wait, i end
  end
end
if longest > 0 then return {which, longest} end

for i = 1, #KEYS do
  local key = KEYS[i]
  local length
  if cost == 1 then
    length = call('RPUSH', key, stamp)
  else
    local stamps = {}
    for n = 1, math.min(cost, 1000) do stamps[n] = stamp end
    for left = cost, 1, -1000 do
      length = call('RPUSH', key, unpack(stamps, 1, math.min(left, 1000)))
    end
  end
  local over = length - ARGV[3 * i - 1]
  if over == 1 then
    call('LPOP', key)
  elseif over > 0 then
    call('LTRIM', key, over, -1)
  end
  call('PEXPIRE', key, ARGV[3 * i + 1])
end
return 0
