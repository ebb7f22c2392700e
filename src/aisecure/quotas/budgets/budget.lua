-- Hold the amounts of several accounts, of all or of none; and book what was really used.
-- KEYS: two for each line: a hash (the books) and a sorted set (what is held, by when it expires).
-- ARGV: what to do, then the words of each line.
--   hold     id ttl, then for each line: limit period step kind amount soft expiry
--   settle   for each line: id held amount expiry unheld period step kind marks, separated by commas
--   look     for each line: period step kind
--   reset    for each line: period step kind
-- Times are microseconds of this server's clock. A bucket is a step of a sliding window, or a period of the calendar;
-- kind is s, c (seconds to days of the calendar), m (its months) or y (its years).
-- Fields of the hash: a number: what was spent in that bucket; u: their sum; h: what is held; n: the newest bucket;
--   o: no bucket is older; c: the clock when last used; l: the longest time that something was held for;
--   t<mark>: when a mark was told; x<id>: the bucket in which a hold was charged when it expired.
-- Members of the set: o<id>:<amount> is released when it expires, c<id>:<amount> is charged then; x<same> expired, and
--   can still be settled until its score.
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local DAY, LATE, MOST = 86400000000, 86400000000, 9007199254740991

local function whole(number) return string.format('%.0f', number) end

-- The calendar, by counting days from the first of March of the year 0.
local function month_of(moment)
  local days = math.floor(moment / DAY) + 719468
  local era = math.floor(days / 146097)
  local day = days - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  local left = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * left + 2) / 153) -- of a year that begins in March
  return (year + era * 400) * 12 + month + 2
end
local function start_of_month(number)
  local shifted = number - 2
  local year = math.floor(shifted / 12)
  local month = shifted - year * 12
  local era = math.floor(year / 400)
  local rest = year - era * 400
  local day = math.floor((153 * month + 2) / 5) + 365 * rest + math.floor(rest / 4) - math.floor(rest / 100)
  return (era * 146097 + day - 719468) * DAY
end

local function bucket_of(window, moment)
  if window.kind == 's' then return math.floor(moment / window.step) end
  if window.kind == 'c' then return math.floor(moment / window.period) end
  if window.kind == 'm' then return month_of(moment) end
  return math.floor(month_of(moment) / 12)
end
local function leaves(window, bucket)
  if window.kind == 's' then return (bucket + 1) * window.step + window.period end
  if window.kind == 'c' then return (bucket + 1) * window.period end
  if window.kind == 'm' then return start_of_month(bucket + 1) end
  return start_of_month((bucket + 1) * 12)
end

-- Books as they are now: what left the window is gone, what nobody settled in time is let go.
local function open(line, period, step, kind)
  local key = KEYS[2 * line - 1]
  local window = {period = tonumber(period), step = tonumber(step), kind = kind}
  local fields = call('HMGET', key, 'u', 'h', 'n', 'o', 'c', 'l')
  local books = {key = key, holds = KEYS[2 * line], window = window, used = tonumber(fields[1] or 0), held = tonumber(fields[2] or 0),
    newest = tonumber(fields[3] or 0), oldest = tonumber(fields[4] or 0), longest = tonumber(fields[6] or 0)}
  local current = bucket_of(window, now)
  local back = now < tonumber(fields[5] or 0)

  if books.used > 0 and (books.newest > current or leaves(window, books.oldest) <= now) then
    local all, ahead, used, oldest, newest = call('HGETALL', key), 0, 0, current, 0
    for i = 1, #all, 2 do
      local bucket = tonumber(all[i])
      if bucket then
        local amount = tonumber(all[i + 1])
        if bucket > current then
          -- Spent before the clock was set back. How long ago is unknown; taking it for now frees nothing early, and
          -- locks nobody out for as long as the clock was wrong.
          ahead = ahead + amount
          call('HDEL', key, all[i])
        elseif leaves(window, bucket) <= now then
          call('HDEL', key, all[i])
        else
          used = used + amount
          oldest = math.min(oldest, bucket)
          newest = math.max(newest, bucket)
        end
      end
    end
    if ahead > 0 then
      call('HINCRBY', key, whole(current), whole(ahead))
      used, newest = used + ahead, current
    end
    books.used, books.oldest, books.newest, books.changed = math.min(MOST, used), oldest, newest, true
  end

  if back then
    -- Nothing is held for longer from now on than it was meant to be.
    local most = now + books.longest
    for _, member in ipairs(call('ZRANGEBYSCORE', books.holds, '(' .. whole(most), '+inf')) do
      if string.sub(member, 1, 1) ~= 'x' then call('ZADD', books.holds, whole(most), member) end
    end
  end
  return books, current
end

local function spend(books, moment, amount)
  -- Never before what stands there: a hold that expired long ago may be found late.
  local bucket = bucket_of(books.window, moment)
  if books.used > 0 and bucket < books.newest then bucket = books.newest end
  if amount > 0 then
    call('HINCRBY', books.key, whole(bucket), whole(amount))
    if books.used == 0 then books.oldest = bucket end
    books.used, books.newest = math.min(MOST, books.used + amount), bucket
  end
  return bucket
end

local function expire(books)
  local due = call('ZRANGEBYSCORE', books.holds, '-inf', whole(now), 'WITHSCORES', 'LIMIT', 0, 1000)
  for i = 1, #due, 2 do
    local member, deadline = due[i], tonumber(due[i + 1])
    -- Read before anything is written: a member that is none of ours is an error each time, and stays to be found.
    local kind, id, amount = string.match(member, '^x?([ocu])(%x+):(%d+)$')
    if not kind then error('a member of the set of holds is none') end
    books.changed = true
    call('ZREM', books.holds, member)
    if string.sub(member, 1, 1) == 'x' then
      call('HDEL', books.key, 'x' .. id)
    else
      amount = tonumber(amount)
      books.held = math.max(0, books.held - amount)
      if deadline + LATE > now then call('ZADD', books.holds, whole(deadline + LATE), 'x' .. member) end
      if kind == 'c' and leaves(books.window, bucket_of(books.window, deadline)) > now then
        local bucket = spend(books, deadline, amount)
        if deadline + LATE > now then call('HSET', books.key, 'x' .. id, whole(bucket)) end
      end
    end
  end
end

local function close(books)
  -- A refusal leaves no trace of an account that has nothing to say.
  if not (books.changed or books.used > 0 or books.held > 0) then return end
  call('HMSET', books.key, 'u', whole(books.used), 'h', whole(books.held), 'n', whole(books.newest),
    'o', whole(books.oldest), 'c', whole(now), 'l', whole(books.longest))
  -- Until nothing of it counts any more, and no hold can still be settled.
  local last = math.max(now + books.window.period + books.window.step, now + books.longest + LATE)
  if books.window.kind == 'm' or books.window.kind == 'y' then last = last + 7 * DAY end
  local ttl = whole(math.ceil((last - now) / 1000) + 1000)
  call('PEXPIRE', books.key, ttl)
  call('PEXPIRE', books.holds, ttl)
end

local function tell(answer, books)
  local reset = books.used > 0 and leaves(books.window, books.newest) - now or 0
  answer[#answer + 1] = whole(books.used)
  answer[#answer + 1] = whole(books.held)
  answer[#answer + 1] = whole(math.max(0, reset))
end

local what, lines = ARGV[1], #KEYS / 2

if what == 'hold' then
  local id, ttl = ARGV[2], tonumber(ARGV[3])
  local all, short, longest = {}, 0, -1
  for i = 1, lines do
    local at = 7 * i - 3
    local books = open(i, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
    expire(books)
    all[i] = books
    local limit, amount = tonumber(ARGV[at]), tonumber(ARGV[at + 4])
    if ARGV[at + 5] == '0' and books.used + books.held + amount > limit then
      local wait, over = 0, books.used + amount - limit
      if over > 0 then
        wait = books.window.period
        local spent, order = {}, {}
        local fields = call('HGETALL', books.key)
        for k = 1, #fields, 2 do
          local bucket = tonumber(fields[k])
          if bucket then
            spent[bucket] = tonumber(fields[k + 1])
            order[#order + 1] = bucket
          end
        end
        table.sort(order)
        for _, bucket in ipairs(order) do
          over = over - spent[bucket]
          if over <= 0 then
            wait = leaves(books.window, bucket) - now
            break
          end
        end
      end
      if wait > longest then short, longest = i, wait end
    end
  end
  local answer = {short, whole(math.max(0, longest))}
  for i = 1, lines do
    local books, at = all[i], 7 * i - 3
    if short == 0 then
      local amount = ARGV[at + 4]
      books.held = math.min(MOST, books.held + tonumber(amount))
      books.longest = math.max(books.longest, ttl)
      call('ZADD', books.holds, whole(now + ttl), ARGV[at + 6] .. id .. ':' .. amount)
    end
    books.changed = books.changed or short == 0
    close(books)
    tell(answer, books)
  end
  return answer
end

local answer = {}
for i = 1, lines do
  if what == 'settle' then
    local at = 9 * i - 7
    local id, held, amount, expiry = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
    local books, current = open(i, ARGV[at + 5], ARGV[at + 6], ARGV[at + 7])
    expire(books)
    local member = expiry .. id .. ':' .. held
    local known, told = 1, ''
    if call('ZREM', books.holds, member) == 1 then
      books.held = math.max(0, books.held - held)
    elseif call('ZREM', books.holds, 'x' .. member) == 1 then
      local bucket = call('HGET', books.key, 'x' .. id)
      if bucket then
        -- Charged when it expired: the rest is booked, and what was too much is given back if it still counts.
        call('HDEL', books.key, 'x' .. id)
        local less = math.min(math.max(0, held - amount), tonumber(call('HGET', books.key, bucket) or 0))
        if less > 0 then
          call('HINCRBY', books.key, bucket, whole(-less))
          books.used = math.max(0, books.used - less)
        end
        amount = math.max(0, amount - held)
      end
    elseif ARGV[at + 4] == '1' and call('ZSCORE', books.holds, 'xu' .. id .. ':0') == false then
      -- It was let pass while nobody could say whether it is held; a mark keeps a repetition from charging again.
      call('ZADD', books.holds, whole(now + LATE), 'xu' .. id .. ':0')
    else
      known = 0
    end
    if known == 1 then
      spend(books, now, amount)
      for mark in string.gmatch(ARGV[at + 8], '%d+') do
        if books.used >= tonumber(mark) then
          local last = tonumber(call('HGET', books.key, 't' .. mark) or -1)
          local over = last < 0 or now < last or now - last >= books.window.period
          if books.window.kind ~= 's' then over = last < 0 or bucket_of(books.window, last) ~= current end
          if over then
            call('HSET', books.key, 't' .. mark, whole(now))
            told = told .. mark .. ','
          end
        end
      end
    end
    books.changed = books.changed or known == 1
    close(books)
    answer[#answer + 1] = known
    answer[#answer + 1] = told
    tell(answer, books)
  else
    local at = 3 * i - 1
    local books = open(i, ARGV[at], ARGV[at + 1], ARGV[at + 2])
    expire(books)
    if what == 'reset' then
      for _, field in ipairs(call('HKEYS', books.key)) do
        if tonumber(field) or string.sub(field, 1, 1) == 't' then call('HDEL', books.key, field) end
      end
      books.used, books.changed = 0, true
    end
    close(books)
    tell(answer, books)
  end
end
return answer
