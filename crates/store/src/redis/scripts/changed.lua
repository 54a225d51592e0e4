-- Some events of a conversation, with it as it is now. KEYS: conversation, log.

local stored = redis.call('GET', KEYS[1])
if not stored then return cmsgpack.pack({ false, false, true }) end
local ask, c = cmsgpack.unpack(ARGV[1]), cmsgpack.unpack(stored)
if ask.channels[1] then
    local wanted = false
    for _, channel in ipairs(ask.channels) do wanted = wanted or channel == c.channel end
    if not wanted then return cmsgpack.pack({}) end
end
local found = {}
for i, seq in ipairs(ask.seqs) do
    found[i] = seq >= c.first and redis.call('LINDEX', KEYS[2], seq - c.first) or false
end
return cmsgpack.pack({ stored, found })
