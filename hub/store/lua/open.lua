-- Called by every hub when it connects: makes the registry's first incarnation, or notices that its data went back in time.
-- keys: 1 meta. args: 1 a fresh incarnation, 2 and 3 the incarnation and revision this hub remembers ('' and 0 = never been here).
-- A remembered incarnation is known when it is the current one or in its lineage (another hub noticed first).
-- answers {state, incarnation, revision, restored}: opened | created | restored
local meta = redis.call('HMGET', keys[1], 'incarnation', 'revision', 'lineage', 'restored')
local current, revision, lineage = meta[1], tonumber(meta[2] or '0'), meta[3] or ''

local function begin(state, from)
  local restored = state == 'restored' and '1' or '0'
  local ancestors = current and (lineage .. current .. ',') or ''
  if args[2] ~= '' and args[2] ~= current then ancestors = ancestors .. args[2] .. ',' end
  redis.call('HSET', keys[1], 'incarnation', args[1], 'revision', from, 'lineage', string.sub(ancestors, -2000), 'restored', restored)
  return {state, args[1], from, restored}
end

local known = args[2] == '' or args[2] == current or string.find(lineage, args[2] .. ',', 1, true) ~= nil
if not current and args[2] == '' then return begin('created', revision) end
-- one above everything remembered, so that no cursor of an older life can look current
if not current or not known or revision < tonumber(args[3]) then
  return begin('restored', math.max(revision, tonumber(args[3])) + 1)
end
return {'opened', current, revision, meta[4] or '0'}
