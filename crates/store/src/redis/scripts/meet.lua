-- A daemon says that it is there and hears of all. KEYS: daemons, and who holds what one alone may hold.

local call = redis.call
local ask = cmsgpack.unpack(ARGV[1])
local clock = call('TIME')
local now = ask.now or math.floor((clock[1] * 1000000 + clock[2]) / 1000)

call('HSET', KEYS[1], ask.me, cmsgpack.pack({ now, ask.stay, ask.told }))
local there, daemons = {}, {}
local known = call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
    local id, entry = known[i], cmsgpack.unpack(known[i + 1])
    if now - entry[1] > entry[2] then
        call('HDEL', KEYS[1], id)
    else
        there[id] = true
        table.insert(daemons, { id, entry[1], entry[3] })
    end
end

local wanted, taken, held = {}, {}, {}
for _, channel in ipairs(ask.wants) do wanted[channel] = true end
local holders = call('HGETALL', KEYS[2])
for i = 1, #holders, 2 do
    local channel, holder = holders[i], holders[i + 1]
    if not there[holder] or (holder == ask.me and not wanted[channel]) then
        call('HDEL', KEYS[2], channel)
    else
        taken[channel] = true
        table.insert(held, { channel, holder })
    end
end
for _, channel in ipairs(ask.wants) do
    if not taken[channel] then
        call('HSET', KEYS[2], channel, ask.me)
        taken[channel] = true
        table.insert(held, { channel, ask.me })
    end
end
return cmsgpack.pack({ now, daemons, held })
