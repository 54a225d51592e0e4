-- A contact takes part in a conversation no more; with the last of them the contact goes. KEYS: contacts, takings part.

local ask = cmsgpack.unpack(ARGV[1])
redis.call('ZREM', KEYS[2], ask.contact .. ask.conversation)
local left = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. ask.contact, '[' .. ask.contact .. string.rep('\255', 17), 'LIMIT', 0, 1)[1]
if not left and ask.wholly then redis.call('HDEL', KEYS[1], ask.contact) end
return cmsgpack.pack({})
