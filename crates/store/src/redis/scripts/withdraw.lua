-- Has a request not be carried out here any more, up to this try, unless it was. KEYS: what became of it here.

local ask = cmsgpack.unpack(ARGV[1])
local stored = redis.call('GET', KEYS[1])
local known = stored and cmsgpack.unpack(stored)
if known and known[2] then return stored end
local try = math.max(ask.try, known and known[1] or 0)
redis.call('SET', KEYS[1], cmsgpack.pack({ try }), 'PX', ask.keep)
return cmsgpack.pack({})
