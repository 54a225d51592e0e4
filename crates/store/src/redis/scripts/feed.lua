-- A partition's feed behind a moment. KEYS: feed. Its entries {number, moment, conversation, seq} are in the order of their moments.

local ask = cmsgpack.unpack(ARGV[1])

local function entry(place)
    return cmsgpack.unpack(redis.call('LINDEX', KEYS[1], place))
end

local low, high = 0, redis.call('LLEN', KEYS[1])
if high == 0 then return cmsgpack.pack({ false, {} }) end
local first = entry(0)
local lost = first[1] > 1 and first[2] > ask.after
while low < high do
    local middle = math.floor((low + high) / 2)
    if entry(middle)[2] > ask.after then high = middle else low = middle + 1 end
end
return cmsgpack.pack({ lost, redis.call('LRANGE', KEYS[1], low, low + ask.rows - 1) })
