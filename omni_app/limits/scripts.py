"""What Redis does for the limiter of many workers: two scripts, each atomic, on Redis' own clock, in milliseconds and
their fractions.

A subject's window is one sorted set. An entry is `id:amount` by when it was taken: `-80` is what a settlement gave back
of an entry of the same time, so that both leave the window together. A lease is an entry `L…:amount` by when it ends,
in the time to come: what its worker has not said of it counts as taken at its last moment. `=` is the sum of them all,
below zero: always the first, and gone with the rest.

Both end with `KEYS[#KEYS]`: the subjects of which somebody was refused something while others held leases.
"""

from omni_app.records import record

_COMMON = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local id, at_argument, entries = ARGV[1], 2, 0

local function text() at_argument = at_argument + 1; return ARGV[at_argument - 1] end
local function number() return tonumber(text()) end
local function weight(one) return tonumber(string.match(one, '%-?%d+$')) end
local function sum(key) return -tonumber(redis.call('ZSCORE', key, '=') or '0') end

local function add(key, at, amount, kind)
  entries = entries + 1
  redis.call('ZADD', key, at, kind .. id .. '.' .. entries .. ':' .. string.format('%.0f', amount))
  redis.call('ZINCRBY', key, -amount, '=')
end

local function slide(key, window)
  local amount, more = 0, true
  while more do
    local gone = redis.call('ZRANGEBYSCORE', key, '(0', now - window, 'LIMIT', 0, 1000)
    for _, one in ipairs(gone) do amount = amount + weight(one) end
    if #gone > 0 then redis.call('ZREMRANGEBYRANK', key, 1, #gone) end
    more = #gone == 1000
  end
  if amount ~= 0 then redis.call('ZINCRBY', key, amount, '=') end
end

-- What a worker says of a subject: the lease that is over, or nothing, and what it used when.
local function hear(key, window)
  slide(key, window)
  local lease, uses = text(), number()
  if lease ~= '' and redis.call('ZREM', key, lease) == 1 then redis.call('ZINCRBY', key, weight(lease), '=') end
  for _ = 1, uses do
    local at, amount = number(), number()
    if at > now - window and sum(key) + amount >= 0 then add(key, at, amount, '') end
  end
end
"""

TELL = (
    _COMMON
    + """
local since, contested = number(), KEYS[#KEYS]
for n = 1, #KEYS - 1 do
  local window, kept = number(), number()
  hear(KEYS[n], window)
  redis.call('PEXPIRE', KEYS[n], kept)
end
local answer = {math.floor(now)}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', contested, '(' .. since, '+inf')) do table.insert(answer, key) end
return answer
"""
)
"""ARGV: an id; since when the contested subjects are wanted; for each subject its window, how long its set is kept, its
lease that is over, the number of its uses, and of each when and how much. Gives the time and the contested subjects."""

ASK = (
    _COMMON
    + """
local part, amounts, logs, whole = number(), {}, {}, 1
for n = 1, number() do amounts[n] = number() end
for n = 1, #KEYS - 1 do
  local log = {key = KEYS[n], limit = number(), window = number(), lease = number(), wish = number(), taken = 0}
  hear(log.key, log.window)
  log.room = log.limit - sum(log.key)
  logs[n] = log
end

local waits = {}
local function wait_for(log, wanted)
  local known = log.key .. ' ' .. wanted .. ' ' .. log.room
  if waits[known] then return waits[known] end
  local over, rank, wait = wanted - log.room, 1, nil
  if over <= 0 then return 0 end
  while not wait do
    local some = redis.call('ZRANGE', log.key, rank, rank + 99, 'WITHSCORES')
    for n = 1, #some, 2 do
      over = over - weight(some[n])
      if over <= 0 and not wait then wait = tonumber(some[n + 1]) + log.window - now end
    end
    if #some == 0 then wait = log.window end
    rank = rank + 100
  end
  waits[known] = wait
  return wait
end

local function leased(key)
  local amount = 0
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. now, '+inf')) do
    if string.sub(one, 1, 1) == 'L' then amount = amount + weight(one) end
  end
  return amount
end

local answer, refusing = {math.floor(now), 0}, {}
local function tell(allowed, tightest, wait)
  local remaining = math.max(0, logs[tightest].room)
  for _, one in ipairs({allowed, tightest, remaining, math.ceil(wait)}) do table.insert(answer, one) end
end
for _, amount in ipairs(amounts) do
  local tightest, wait = 0, -1
  for n, log in ipairs(logs) do
    if log.room < amount then
      refusing[log.key] = true
      if wait_for(log, amount) > wait then tightest, wait = n, wait_for(log, amount) end
    end
  end
  if tightest > 0 then
    whole = 0
    tell(0, tightest, wait)
  else
    for n, log in ipairs(logs) do
      log.room, log.taken = log.room - amount, log.taken + amount
      if tightest == 0 or log.room < logs[tightest].room then tightest = n end
    end
    tell(1, tightest, wait_for(logs[tightest], 1))
  end
end
for _, log in ipairs(logs) do
  if refusing[log.key] then
    local elsewhere = leased(log.key)
    if elsewhere > 0 then
      answer[2] = answer[2] + elsewhere
      redis.call('ZREMRANGEBYSCORE', KEYS[#KEYS], '-inf', now - 10000)
      redis.call('ZADD', KEYS[#KEYS], now, log.key)
      redis.call('PEXPIRE', KEYS[#KEYS], 10000)
    end
  end
  if log.taken > 0 then add(log.key, now, log.taken, '') end
  local extra = whole * math.min(log.wish, math.floor(log.room / part))
  table.insert(answer, log.room)
  table.insert(answer, extra)
  if extra > 0 then
    add(log.key, now + log.lease, extra, 'L')
    table.insert(answer, entries)
  else
    table.insert(answer, 0)
  end
  redis.call('PEXPIRE', log.key, log.window + log.lease)
end
return answer
"""
)
"""ARGV: an id; the part of what remains that is leased at most; the amounts, after how many they are; for each subject
its limit, window, how long a lease lasts, how much is wished for as one, and what is to be heard, as in `TELL`.

Each amount counts against every subject or none. Gives the time, what others hold as leases of a subject that refused,
for each amount {allowed, which subject is the tightest, what remains of it, how long to wait: for the amount when it
was refused, else for one more}, and for each subject {what remains, the lease's amount of it, the lease's number}."""


@record(frozen=True, slots=True)
class Outcome:
    """What became of one amount. `tightest`: the index of the subject that the rest is of."""

    allowed: bool
    tightest: int
    remaining: int
    wait_s: float


@record(frozen=True, slots=True)
class Grant:
    """What remains of a subject: `room` in all, of which `amount` is this worker's lease `name` from now on."""

    room: int
    amount: int
    name: str


@record(frozen=True, slots=True)
class Asked:
    """The answer of `ASK`. `elsewhere`: what other workers hold as leases, where something was refused."""

    now_ms: int
    elsewhere: int
    outcomes: tuple[Outcome, ...]
    grants: tuple[Grant, ...]

    @classmethod
    def parsed(cls, told: list[int], *, id_: str, amounts: int) -> "Asked":
        """From what Redis gives. Raises `ValueError` when it is none."""
        now_ms, elsewhere, *rest = told
        ends = 2 + 4 * amounts
        fours, threes = zip(*[iter(rest[: 4 * amounts])] * 4, strict=True), zip(*[iter(told[ends:])] * 3, strict=True)
        return cls(
            now_ms,
            elsewhere,
            tuple(Outcome(bool(ok), tightest - 1, left, wait / 1000) for ok, tightest, left, wait in fours),
            tuple(Grant(room, amount, f"L{id_}.{number}:{amount}") for room, amount, number in threes),
        )
