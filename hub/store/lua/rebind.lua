-- Gives a member new keys at renewal, unless one of them belongs to another cluster or the member changed meanwhile.
-- keys: 1 meta, 2 records, 3 stream, 4 bound SPKIs
-- args: 1 cluster, 2 member key, 3 member (JSON), 4 expected revision of the member, 5 length of the stream, then the new SPKIs
-- answers {status, revision}: written | conflict | wrong-cluster
local at = {meta = keys[1], records = keys[2], stream = keys[3]}
local revision, before = stored(at, args[2])
if revision ~= tonumber(args[4]) then return {'conflict', revision} end
for i = 6, #args do
  local owner = redis.call('HGET', keys[4], args[i])
  if owner and owner ~= args[1] then return {'wrong-cluster', 0} end
end
for i = 6, #args do redis.call('HSET', keys[4], args[i], args[1]) end
if before == args[3] then return {'written', revision} end
return {'written', commit(at, args[2], args[3], args[5])}
