-- Whether a message is where its id says. KEYS: where it is known, then the conversation and its log.
-- message; id: the conversation. Gives nothing where it is not known any more, else 'gone' or what is in its place.

local ask, call = cmsgpack.unpack(ARGV[1]), redis.call
local known = call('HGET', KEYS[1], ask.message)
if not known or known:sub(1, 16) ~= ask.id then return cmsgpack.pack({}) end
local stored = call('GET', KEYS[2])
if not stored then return cmsgpack.pack({ 'gone' }) end
local fine, element = pcall(function()
    local place = tonumber(known:sub(17)) - cmsgpack.unpack(stored).first
    return place >= 0 and call('LINDEX', KEYS[3], place)
end)
return cmsgpack.pack({ fine and element or 'gone' })
