-- Notes how far the erasure of a contact is, also where memory is used up: that is when it is needed. KEYS: who is being erased.

local ask = cmsgpack.unpack(ARGV[1])
redis.call('HSET', KEYS[1], ask.contact, ask.at)
return cmsgpack.pack({})
