-- What buckets hold, until it is enough. KEYS: buckets of one partition.
-- Gives {number of the bucket, its names and values}, and the number of the bucket that would come next.

local ask = cmsgpack.unpack(ARGV[1])
local found, left = {}, ask.rows
for number, bucket in ipairs(KEYS) do
    if left <= 0 then return cmsgpack.pack({ found, number }) end
    local entries = redis.call('HGETALL', bucket)
    if entries[1] then
        table.insert(found, { number, entries })
        left = left - #entries / 2
    end
end
return cmsgpack.pack({ found, false })
