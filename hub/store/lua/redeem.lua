-- Redeems a join token: binds token -> key pair and cluster -> key pair in one step. The same keys may ask again
-- (a lost reply), other keys are refused and counted.
-- keys: 1 token, 2 meta, 3 records, 4 stream, 5 bound SPKIs
-- args: 1 now (ms), 2 HMAC of the secret, 3 cluster the hub read from the token, 4 agent SPKI, 5 cluster CA SPKI,
--       6 how long the same keys may repeat (ms), 7 member key, 8 sealed member (JSON), 9 length of the stream,
--       10 and 11 the expiry and the rejoin flag that the HMAC covers, 12 '1': the hub remembers other keys that were first
-- answers {status, revision}: joined | repeated | unknown | expired | used | withdrawn | wrong-cluster | taken | restored
local at = {meta = keys[2], records = keys[3], stream = keys[4]}
local token = redis.call('HMGET', keys[1], 'hmac', 'cluster', 'expiresAtMs', 'agentSpki', 'clusterCaSpki', 'redeemedAtMs', 'rejoin', 'withdrawnAtMs')
local now = tonumber(args[1])

-- Whoever does not hold the secret learns nothing else about the token.
if not token[1] then return {'unknown', 0} end
if token[1] ~= args[2] or token[2] ~= args[3] or token[3] ~= args[10] or token[7] ~= args[11] then
  redis.call('HINCRBY', keys[1], 'refused', 1)
  return {'unknown', 0}
end
if redis.call('HGET', at.meta, 'restored') == '1' then return {'restored', 0} end
if args[12] == '1' then
  redis.call('HINCRBY', keys[1], 'refused', 1)
  return {'used', 0}
end
local _, text = stored(at, args[7])
local member = text and cjson.decode(text).member or {}
if token[4] then
  -- who waits to be accepted asks for as long as it takes people to answer
  local since = math.max(tonumber(token[6]), member.acceptedAtMs or 0)
  local mayRepeat = member.state == 'pending' or now < since + tonumber(args[6])
  if token[4] == args[4] and token[5] == args[5] and mayRepeat then return {'repeated', 0} end
  redis.call('HINCRBY', keys[1], 'refused', 1)
  return {'used', 0}
end
if token[8] then return {'withdrawn', 0} end
if now >= tonumber(token[3]) then return {'expired', 0} end

for _, spki in ipairs({args[4], args[5]}) do
  local owner = redis.call('HGET', keys[5], spki)
  if owner and owner ~= args[3] then return {'wrong-cluster', 0} end
end
if text and token[7] ~= '1' then
  local same = member.clusterCaSpki == args[5]
  if member.state ~= 'left' and not same then return {'taken', 0} end
end

redis.call('HSET', keys[1], 'agentSpki', args[4], 'clusterCaSpki', args[5], 'redeemedAtMs', args[1])
redis.call('HSET', keys[5], args[4], args[3], args[5], args[3])
return {'joined', commit(at, args[7], args[8], args[9])}
