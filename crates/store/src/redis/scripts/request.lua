-- Where a caller's request is, or is to be, carried out: {conversation, try}. KEYS: the request.
-- `from`: it was withdrawn there, up to this try, and goes to `conversation` now, unless somebody was quicker.

local ask = cmsgpack.unpack(ARGV[1])
local stored = redis.call('GET', KEYS[1])
local present = stored and cmsgpack.unpack(stored)
if not present or (ask.from and present[1] == ask.from[1] and present[2] == ask.from[2]) then
    local clock = redis.call('TIME')
    local try = clock[1] * 1000000 + clock[2]
    if present then try = math.max(try, present[2] + 1) end
    present = { ask.conversation, try }
    redis.call('SET', KEYS[1], cmsgpack.pack(present), 'PX', ask.keep)
else
    redis.call('PEXPIRE', KEYS[1], ask.keep, 'GT')
end
return cmsgpack.pack(present)
