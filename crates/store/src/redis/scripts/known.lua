-- Forgets the dedupe keys of messages from before a moment. KEYS: buckets of one partition, {key: conversation, message}.
-- A message's id begins with its time.

local ask = cmsgpack.unpack(ARGV[1])
for _, bucket in ipairs(KEYS) do
    local entries = redis.call('HGETALL', bucket)
    for i = 1, #entries, 2 do
        if struct.unpack('>I6', entries[i + 1], 17) < ask.before then redis.call('HDEL', bucket, entries[i]) end
    end
end
return cmsgpack.pack({})
