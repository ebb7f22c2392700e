-- Spend from several limits at once: from all of them, or from none.
-- KEYS: one for each limit. ARGV: the cost; a mode; then for each limit five words:
--   l  amount  period  ttl  -         sliding log: a list of stamps, oldest first
--   g  amount  interval  -  burst     GCRA: when all that was admitted is paid off at one an interval
--   f  amount  period  ttl  -         fixed window: a count that expires
-- Times are microseconds of this server's clock, a ttl is in milliseconds (reckoned in whole ones, and not to come early).
-- Modes: 0 answers 0 when admitted, else {which limit takes longest to clear, microseconds}; the others answer
--   {which or 0, microseconds, granted, stamp, ...}. r is a receipt to refund by; k takes as much of the cost as there is
--   room for; t tells of each limit {used, microseconds until all of it is free} as after this call. A cost of 0 spends nothing.
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local stamp = string.format('%.0f', now)
local cost, mode = tonumber(ARGV[1]), ARGV[2]
local partial = mode == 'k'

-- How many stamps at the head of a log have left the window.
local function left(key, length, period)
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    if call('LINDEX', key, middle) + period <= now then low = middle + 1 else high = middle end
  end
  return low
end

local longest, which, granted = 0, 0, cost
for i = 1, #KEYS do
  local key, at = KEYS[i], 5 * i - 2
  local kind, amount = ARGV[at], tonumber(ARGV[at + 1])
  local wait = 0
  if kind == 'l' then
    local period = tonumber(ARGV[at + 2])
    local length = call('LLEN', key)
    if partial and length + granted > amount then
      granted = math.min(granted, math.max(1, amount - length + left(key, length, period)))
    end
    local short = length + granted - amount
    if short > 0 then
      -- So many admissions must have left the window; the youngest of them decides.
      wait = call('LINDEX', key, short - 1) + period - now
      if wait > period then
        -- A stamp from the future: the clock was set back. How long ago it really was is unknown, and taking it
        -- for now is never too generous; leaving it would lock the key out for as long as the clock was wrong.
        call('DEL', key)
        for _ = 1, length do call('RPUSH', key, stamp) end
        call('PEXPIRE', key, ARGV[at + 3])
        wait = period
      end
    end
  elseif kind == 'g' then
    local interval, burst = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 4])
    local ahead = tonumber(call('GET', key) or now) - now
    if ahead > burst * interval then
      ahead = burst * interval -- the clock was set back: owed is at most a whole burst
      call('SET', key, string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000) + 1)
    end
    if ahead < 0 then ahead = 0 end
    if partial then granted = math.min(granted, math.max(1, math.floor(burst - ahead / interval))) end
    wait = ahead + (granted - burst) * interval
  else
    local count = tonumber(call('GET', key) or 0)
    if partial then granted = math.min(granted, math.max(1, amount - count)) end
    if count + granted > amount then
      local rest = call('PTTL', key)
      if rest < 0 then
        call('PEXPIRE', key, ARGV[at + 3])
        rest = tonumber(ARGV[at + 3])
      end
      wait = math.max(1, rest) * 1000
    end
  end
  if wait > longest then longest, which = wait, i end
end

if longest == 0 and granted > 0 then
  for i = 1, #KEYS do
    local key, at = KEYS[i], 5 * i - 2
    local kind = ARGV[at]
    if kind == 'l' then
      local length
      if granted == 1 then
        length = call('RPUSH', key, stamp)
      else
        local stamps = {}
        for n = 1, math.min(granted, 1000) do stamps[n] = stamp end
        for rest = granted, 1, -1000 do
          length = call('RPUSH', key, unpack(stamps, 1, math.min(rest, 1000)))
        end
      end
      local over = length - ARGV[at + 1]
      if over == 1 then
        call('LPOP', key)
      elseif over > 0 then
        call('LTRIM', key, over, -1)
      end
      call('PEXPIRE', key, ARGV[at + 3])
    elseif kind == 'g' then
      local paid = math.max(now, tonumber(call('GET', key) or now)) + granted * ARGV[at + 2]
      call('SET', key, string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000) + 1)
    elseif call('INCRBY', key, granted) == granted then
      call('PEXPIRE', key, ARGV[at + 3])
    end
  end
end

if mode == '0' then
  if longest > 0 then return {which, longest} end
  return 0
end
local answer = {which, longest, longest > 0 and 0 or granted, stamp}
if mode == 't' then
  for i = 1, #KEYS do
    local key, at = KEYS[i], 5 * i - 2
    local kind, used, reset = ARGV[at], 0, 0
    if kind == 'l' then
      local length, period = call('LLEN', key), tonumber(ARGV[at + 2])
      if length > 0 then
        used = length - left(key, length, period)
        reset = call('LINDEX', key, -1) + period - now
      end
    elseif kind == 'g' then
      reset = tonumber(call('GET', key) or now) - now
      used = math.ceil(math.max(0, reset) / ARGV[at + 2])
    else
      used = tonumber(call('GET', key) or 0)
      reset = used > 0 and call('PTTL', key) * 1000 or 0
    end
    answer[#answer + 1] = used
    answer[#answer + 1] = math.max(0, reset)
  end
end
return answer
