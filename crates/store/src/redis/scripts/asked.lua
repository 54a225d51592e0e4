-- Whether this operation asked before. KEYS: the operation's mark.

local first = redis.call('SET', KEYS[1], '1', 'NX', 'PX', 600000)
return cmsgpack.pack(first and {} or { true })
