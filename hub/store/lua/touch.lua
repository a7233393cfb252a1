-- Keeps a quiet publisher's session live, or lets it go when its stream has ended (args[2] = 0).
-- keys: 1 writer. args: 1 session, 2 how long it counts as live from now (ms). Answers {1}, or {0} when another session holds the cluster.
if redis.call('HGET', keys[1], 'session') ~= args[1] then return {0} end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', keys[1], 'liveUntil', now + tonumber(args[2]))
return {1}
