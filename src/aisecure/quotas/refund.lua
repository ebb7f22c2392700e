-- Give back what limits.lua admitted: to a limit elsewhere that refused the same call, or what was taken ahead and not spent.
-- KEYS and ARGV as there, but for the first two: how much, and the stamp under which it was admitted.
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local cost, stamp = tonumber(ARGV[1]), ARGV[2]
local since = now - tonumber(stamp)
for i = 1, #KEYS do
  local key, at = KEYS[i], 5 * i - 2
  local kind = ARGV[at]
  if kind == 'l' then
    call('LREM', key, -cost, stamp)
  elseif kind == 'g' then
    -- Once so long ago that it is paid off, nothing is owed for it any more.
    local paid, owed = call('GET', key), cost * ARGV[at + 2]
    if paid and since < owed then
      paid = paid - owed
      if paid <= now then
        call('DEL', key)
      else
        call('SET', key, string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000) + 1)
      end
    end
  else
    -- Only to the window in which it was admitted.
    local count, rest = tonumber(call('GET', key) or 0), call('PTTL', key)
    if count >= cost and rest > 0 and since <= (ARGV[at + 3] - rest + 1) * 1000 then
      call('DECRBY', key, cost)
    end
  end
end
return 0
