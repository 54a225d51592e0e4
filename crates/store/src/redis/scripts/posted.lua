-- A contact's partition has got the word: it need not be kept, unless there is a newer one. KEYS: posts.

local ask = cmsgpack.unpack(ARGV[1])
local stored = redis.call('HGET', KEYS[1], ask.post)
if stored and cmsgpack.unpack(stored)[1] <= ask.at then redis.call('HDEL', KEYS[1], ask.post) end
return cmsgpack.pack({})
