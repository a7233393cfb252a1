-- Shared by the scripts that write records. Called only after every check of the script has passed: a script that stops
-- half way is not rolled back.
-- at: {meta, records, stream}. Writes or (value == false) deletes one record under the next revision and tells the stream.
local function commit(at, key, value, stream_length)
  local revision = redis.call('HINCRBY', at.meta, 'revision', 1)
  if value then
    redis.call('HSET', at.records, key, revision .. ' ' .. value)
    redis.call('XADD', at.stream, 'MAXLEN', '~', stream_length, revision .. '-0', 'k', key, 'v', value)
  else
    redis.call('HDEL', at.records, key)
    redis.call('XADD', at.stream, 'MAXLEN', '~', stream_length, revision .. '-0', 'k', key)
  end
  return revision
end

-- The stored revision and text of a record; 0 and false when it does not exist.
local function stored(at, key)
  local found = redis.call('HGET', at.records, key)
  if not found then return 0, false end
  local space = string.find(found, ' ', 1, true)
  return tonumber(string.sub(found, 1, space - 1)), string.sub(found, space + 1)
end
