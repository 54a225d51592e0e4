-- How many conversations stand on each shelf of one partition. KEYS: index.

local LAST = string.rep('\255', 22)
local found, min = {}, '[c'
while true do
    local member = redis.call('ZRANGEBYLEX', KEYS[1], min, '(d', 'LIMIT', 0, 1)[1]
    if not member then break end
    local prefix = member:sub(1, 3 + member:byte(2))
    local count = redis.call('ZLEXCOUNT', KEYS[1], '[' .. prefix, '[' .. prefix .. LAST)
    table.insert(found, { prefix:byte(-1), count })
    min = '(' .. prefix .. LAST
end
return cmsgpack.pack(found)
