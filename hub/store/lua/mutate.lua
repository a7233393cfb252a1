-- One atomic write of the registry: idempotency key, publisher fence, compare-and-set, records, revision, stream.
-- keys: 1 meta, 2 records, 3 stream, 4 idempotency (a publisher's `writer` or one operator write), 5 owned keys of the cluster
-- args: 1 incarnation the caller knows, 2 write id, 3 publisher session ('' = not a publisher), 4 its start (ms),
--       5 how long the session counts as live (ms), 6 quota of records, 7 length of the stream,
--       8 how long to keep the idempotency key (ms, 0 = as long as the cluster), then per change: key, 'put' | 'delete', value,
--       expected revision ('' = any, '0' = must not exist)
-- answers {status, revision}: written | repeated | fenced | conflict | quota | incarnation. Only `written` changed anything.
local at = {meta = keys[1], records = keys[2], stream = keys[3]}
local first, step = 9, 4

if redis.call('HGET', at.meta, 'incarnation') ~= args[1] then return {'incarnation', 0} end
local writer = redis.call('HMGET', keys[4], 'write', 'revision', 'session', 'started', 'liveUntil')
if writer[1] == args[2] then return {'repeated', tonumber(writer[2])} end

-- The newest start wins, but only against a publisher that is alive: clocks of nodes differ by minutes.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if args[3] ~= '' and writer[3] and writer[3] ~= args[3] then
  if tonumber(writer[5]) > now and tonumber(writer[4]) > tonumber(args[4]) then return {'fenced', 0} end
end

local held = redis.call('SCARD', keys[5])
for i = first, #args, step do
  local revision = stored(at, args[i])
  if args[i + 3] ~= '' and tonumber(args[i + 3]) ~= revision then return {'conflict', revision} end
  if args[i + 1] == 'put' and revision == 0 then held = held + 1 end
  if args[i + 1] == 'delete' and revision ~= 0 then held = held - 1 end
end
if args[3] ~= '' and held > tonumber(args[6]) and held > redis.call('SCARD', keys[5]) then return {'quota', held} end

for i = first, #args, step do
  local key, put, value = args[i], args[i + 1] == 'put', args[i + 2]
  local _, before = stored(at, key)
  -- an equal value is no change: nobody is woken
  if put and before ~= value then
    commit(at, key, value, args[7])
    if args[3] ~= '' then redis.call('SADD', keys[5], key) end
  elseif not put and before then
    commit(at, key, false, args[7])
    redis.call('SREM', keys[5], key)
  end
end
local revision = tonumber(redis.call('HGET', at.meta, 'revision'))
redis.call('HSET', keys[4], 'write', args[2], 'revision', revision)
if args[3] ~= '' then
  redis.call('HSET', keys[4], 'session', args[3], 'started', args[4], 'liveUntil', now + tonumber(args[5]))
end
if args[8] ~= '0' then redis.call('PEXPIRE', keys[4], args[8]) end
return {'written', revision}
