-- What a conversation says of a contact reaches the contact: the latest word counts. KEYS: contacts, takings part.

local ask = cmsgpack.unpack(ARGV[1])
local stored = redis.call('HGET', KEYS[1], ask.contact)
if not stored or cmsgpack.unpack(stored)[1] <= ask.at then
    redis.call('HSET', KEYS[1], ask.contact, cmsgpack.pack({ ask.at, ask.known }))
end
redis.call('ZADD', KEYS[2], 0, ask.contact .. ask.conversation)
return cmsgpack.pack({})
