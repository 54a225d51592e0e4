-- A daemon goes, and what it held is free. KEYS: daemons, and who holds what one alone may hold.

local ask = cmsgpack.unpack(ARGV[1])
redis.call('HDEL', KEYS[1], ask.me)
local holders = redis.call('HGETALL', KEYS[2])
for i = 1, #holders, 2 do
    if holders[i + 1] == ask.me then redis.call('HDEL', KEYS[2], holders[i]) end
end
return cmsgpack.pack({})
