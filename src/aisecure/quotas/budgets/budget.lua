-- Budgets: reserve from several accounts at once, all or none; settle; look.
-- KEYS: two for each account: a hash of amounts by bucket, and a sorted set of reservations by the moment at which they
--   expire: members ``id:bucket:amount``, and ``!id`` for those settled, so that a second settlement changes nothing.
-- ARGV: reserve, settle or look; an id; for how many microseconds it holds; then eight words for each account:
--   window (s sliding, u unit of time, m month, y year)  width of a bucket in microseconds  how many buckets count
--   limit (-1: never refuses)  amount  booked bucket  reserved amount  ttl in milliseconds
-- Answers: reserve {0, expired, ...} or {which account takes longest, microseconds}; settle and look {0, 0, ...}; then for
--   each account {bucket, used, reserved, microseconds until all is free}.
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local what, id, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local WORDS = 8

local function text(number) return string.format('%.0f', number) end

-- Year and month of a day since 1970-01-01, and the other way, in the proleptic Gregorian calendar.
local function month_of(days)
  days = days + 719468
  local era = math.floor(days / 146097)
  local doe = days - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month
end
local function first_day(year, month)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local yoe = year - era * 400
  local doy = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

-- The bucket of this moment, and when it ends.
local function place(window, width)
  if window == 's' or window == 'u' then
    local index = math.floor(now / width)
    return index, (index + 1) * width
  end
  local year, month = month_of(math.floor(now / 86400000000))
  if window == 'y' then return year, first_day(year + 1, 1) * 86400000000 end
  local index = year * 12 + month - 1
  return index, first_day(math.floor((index + 1) / 12), (index + 1) % 12 + 1) * 86400000000
end

local function lower(key, index, by)
  if call('HEXISTS', key, index) == 1 and call('HINCRBY', key, index, text(-by)) < 0 then call('HSET', key, index, 0) end
end

local accounts, expired, longest, which = {}, 0, 0, 0
for i = 1, #KEYS / 2 do
  local key, held, at = KEYS[2 * i - 1], KEYS[2 * i], 3 + WORDS * (i - 1)
  local window, width, span = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local index, ends = place(window, width)
  -- Reservations that nobody settled in time give back what they held.
  for _, member in ipairs(call('ZRANGEBYSCORE', held, '-inf', text(now), 'LIMIT', 0, 1000)) do
    call('ZREM', held, member)
    local bucket, amount = string.match(member, ':(%d+):(%d+)$')
    if bucket then
      expired = expired + 1
      lower(key, bucket, tonumber(amount))
    end
  end
  local buckets, order, used = {}, {}, 0
  local all = call('HGETALL', key)
  for n = 1, #all, 2 do
    local bucket, amount = tonumber(all[n]), tonumber(all[n + 1])
    if bucket <= index - span then
      call('HDEL', key, all[n])
    else
      if bucket > index then
        -- The clock was set back. Taking it for now is never too generous, and nobody waits for longer than a period.
        call('HDEL', key, all[n])
        call('HINCRBY', key, index, all[n + 1])
        bucket = index
      end
      if not buckets[bucket] then order[#order + 1] = bucket end
      buckets[bucket] = (buckets[bucket] or 0) + amount
      used = used + amount
    end
  end
  table.sort(order)
  accounts[i] = {key = key, held = held, at = at, index = index, ends = ends, span = span, width = width,
    buckets = buckets, order = order, used = used}
  if what == 'reserve' then
    local limit, amount = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
    local short = used + amount - limit
    if limit >= 0 and amount > 0 and short > 0 then
      local free = ends + (span - 1) * width
      for _, bucket in ipairs(order) do
        short = short - buckets[bucket]
        if short <= 0 then
          free = ends + (bucket - index + span - 1) * width
          break
        end
      end
      local wait = math.max(1, free - now)
      if wait > longest then longest, which = wait, i end
    end
  end
end
if longest > 0 then return {which, longest} end

local answer = {0, expired}
for i, account in ipairs(accounts) do
  local key, held, at, index = account.key, account.held, account.at, account.index
  local amount = tonumber(ARGV[at + 5])
  local last = account.order[#account.order]
  if what == 'reserve' then
    call('HINCRBY', key, index, ARGV[at + 5])
    call('ZADD', held, text(now + ttl), id .. ':' .. text(index) .. ':' .. ARGV[at + 5])
    account.used, last = account.used + amount, index
  elseif what == 'settle' and not call('ZSCORE', held, '!' .. id) then
    local bucket, reserved = ARGV[at + 6], tonumber(ARGV[at + 7])
    if call('ZREM', held, id .. ':' .. bucket .. ':' .. ARGV[at + 7]) == 0 then
      bucket, reserved = text(index), 0 -- it expired: what was used is charged all the same
    end
    local more = amount - reserved
    if tonumber(bucket) == index or account.buckets[tonumber(bucket)] then
      account.used = account.used + math.max(more, -(account.buckets[tonumber(bucket)] or 0))
      if call('HINCRBY', key, bucket, text(more)) < 0 then call('HSET', key, bucket, 0) end
    elseif more > 0 then
      -- Its bucket has gone; only what nobody reserved is new.
      call('HINCRBY', key, index, text(more))
      account.used, last = account.used + more, index
    end
    call('ZADD', held, text(now + ttl), '!' .. id)
  end
  local reserved = 0
  if what == 'look' then
    for _, member in ipairs(call('ZRANGE', held, 0, -1)) do
      local bucket, mine = string.match(member, ':(%d+):(%d+)$')
      if bucket and account.buckets[tonumber(bucket)] then reserved = reserved + mine end
    end
  else
    call('PEXPIRE', key, ARGV[at + 8])
    call('PEXPIRE', held, ARGV[at + 8])
  end
  local free = last and account.ends + (last - index + account.span - 1) * account.width - now or 0
  -- As text where 32 bits may not do, and used may be below nothing only by a rounding that there is not.
  for _, number in ipairs({index, account.used, reserved, math.max(0, free)}) do
    answer[#answer + 1] = text(number)
  end
end
return answer
